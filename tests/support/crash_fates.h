#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "tests/support/crashed_disk.h"

namespace mumoe::testing {

/// What may have become of changes that were not synced, of each of which it is
/// said whether it is a write: every subset of at most `exhaustive` of them, of
/// more none, all and `samples` subsets; each again with writes that are there
/// in part, and all with one such write.
std::vector<std::vector<Fate>> fates_of(const std::vector<bool>& writes,
                                        std::size_t exhaustive,
                                        int samples,
                                        std::mt19937_64& random);

}  // namespace mumoe::testing
