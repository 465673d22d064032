#pragma once

#include <string>
#include <vector>

namespace mumoe::data {

/// Runs `arguments[0]`, found on PATH, with the other arguments as they are (no
/// shell), empty input and this process's environment; waits for its end. When
/// it fails, throws `InputError`: `what`, how it ended, and the last line of
/// its output that says "error", else the last of all.
void run_process(const std::string& what,
                 const std::vector<std::string>& arguments);

}  // namespace mumoe::data
