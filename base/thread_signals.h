#pragma once

namespace mumoe {

/// Signals do not reach the calling thread from now on: they are for the
/// program's own threads. Faults stay with the thread that causes them.
void block_signals();

}  // namespace mumoe
