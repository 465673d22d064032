#pragma once

#include <cstddef>

namespace mumoe {

/// Columns of the terminal that shows stdout: COLUMNS, which launch/mpirun sets
/// for its ranks, else what the terminal says, else 80.
std::size_t terminal_columns();

}  // namespace mumoe
