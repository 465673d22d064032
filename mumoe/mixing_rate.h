#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "mumoe/form.h"
#include "mumoe/gemm.h"

namespace mumoe {

/// Seconds that mixing and combining take, forward and backward, by a dense
/// product and by reading the active experts alone, for two shares of them.
struct MixingTimes {
  struct Sparse {
    double share;
    double seconds;
  };
  double dense;
  Sparse few;
  Sparse more;
};

/// The share of active experts at or below which reading them alone is clearly
/// faster, if its time grows evenly with the share: a power of two, so that
/// times that are measured again give the same; 0: never.
double sparse_share(const MixingTimes& times);

/// Measured for all `layers` of a block, on `tokens` tokens at most, on a
/// device where `choose_mixing` does not count. Milliseconds.
MixingTimes measure_mixing(const std::vector<LayerShape>& layers,
                           std::int64_t tokens,
                           at::ScalarType dtype,
                           at::Device device);

}  // namespace mumoe
