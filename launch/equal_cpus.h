#pragma once

#include <string>

#include "dist/process_mesh.h"

namespace mumoe::launch {

/// Whether the ranks of each tp group round alike on their CPUs: the same
/// instruction sets, of this project's kernels and of the libraries', and as
/// many threads. Empty if so, else what the first two unlike ranks have: what
/// both compute from the same numbers may then differ in its last bits.
/// Collective over `mesh.world()`.
std::string find_unequal_cpus(const dist::ProcessMesh& mesh);

}  // namespace mumoe::launch
