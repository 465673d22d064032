#pragma once

#include <ATen/core/Tensor.h>

#include "mumoe/gate.h"

// The gate's batch norm, outside autograd: each expert over all rows of all
// ranks of a group. Of LibTorch's operations, on any device. mumoe/gate.h has
// the contract.

namespace mumoe {

/// ẑ [T, N] in fp32 (fp64), and what it was normalised with.
struct BatchNormalised {
  at::Tensor z_TN;
  BatchMoments moments;
};

/// ẑ = (ℓ − mean) · rstd. Fills and obeys `statistics.moments`, updates the
/// running statistics in training, has the collectives of the forward pass.
BatchNormalised batch_normalise(const at::Tensor& logits_TN,
                                const BatchStatistics& statistics);

/// ẑ again, for backward.
at::Tensor batch_normalise_with(const at::Tensor& logits_TN,
                                const BatchMoments& moments);

/// dℓ from d = dẑ, both in the dtype of ẑ:
///   training    rstd · (d − (Σ d + ẑ · Σ d∘ẑ) / count), one all-reduce
///   evaluation  rstd · d
at::Tensor batch_normalise_backward(const at::Tensor& z_TN,
                                    const at::Tensor& d_TN,
                                    const BatchMoments& moments,
                                    dist::Communicator* group,
                                    bool training);

}  // namespace mumoe
