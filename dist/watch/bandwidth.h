#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dist/communicator.h"

namespace mumoe::dist {

/// The share of an operation's payload that its slowest link must carry when
/// `ranks` ranks do it in the best way, a ring: all_reduce 2(n−1)/n;
/// all_gather, reduce_scatter and all_to_all (n−1)/n; broadcast 1; barrier 0.
/// The same factors as in the "bus bandwidth" of nccl-tests.
double bus_factor(Op op, int ranks);

/// A link: an operation takes latency_s + bytes · bus_factor / bytes_per_s.
struct Bandwidth {
  double latency_s = 0;
  double bytes_per_s = 0;  ///< Infinite for a group of one.

  double seconds(Op op, int ranks, std::int64_t bytes) const {
    return latency_s +
           static_cast<double>(bytes) * bus_factor(op, ranks) / bytes_per_s;
  }
};

/// Measures all_reduces of fp32 on `device` in under half a second on a link
/// that is not hopeless: latency by small ones, bandwidth by growing ones, up
/// to `bytes` or to what takes 50 ms; the medians count. Collective over
/// `group`; all ranks get what its rank 0 measured.
Bandwidth measure_bandwidth(Communicator& group,
                            std::int64_t bytes = 8 << 20,
                            at::Device device = at::kCPU);

}  // namespace mumoe::dist
