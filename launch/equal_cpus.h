#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/host_map.h"

namespace mumoe::launch {

/// Whether the ranks of each tp group round alike on their CPUs: the same
/// instruction sets, of this project's kernels and of the libraries', and as
/// many threads. Empty if so, else what the first two unlike ranks have: what
/// both compute from the same numbers may then differ in its last bits.
/// Collective over `world`, whose ranks are at `places`.
std::string find_unequal_cpus(dist::Communicator& world,
                              const std::vector<dist::RankPlace>& places);

}  // namespace mumoe::launch
