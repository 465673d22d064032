#pragma once

#include "dist/communicator.h"
#include "dist/watch/bandwidth.h"

namespace mumoe::study {

/// What communication takes from what a rank computes meanwhile, on the same
/// cores: copies, sums and TCP. Seconds for each byte that its slowest link
/// carries (`dist::bus_factor`): an all_reduce behind products, against the
/// same products alone, all ranks at once; the mean over ranks, 0 where cores
/// are to spare. `link`: what the group has, by which the bytes are chosen.
/// Takes about a second. Collective over `group`, which lies on CPUs.
double measure_taken(dist::Communicator& group, const dist::Bandwidth& link);

}  // namespace mumoe::study
