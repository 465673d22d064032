#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dist/params/placement.h"
#include "dist/tensor_parallel.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// What a pass through the output head leaves.
struct HeadPass {
  at::Tensor loss;  ///< scale · Σ_t −log p_t, a scalar of the wider dtype.
  at::Tensor hidden;  ///< dh, like the hidden states; undefined: not wanted.
  at::Tensor weight;  ///< dW, in the wider dtype; undefined: not wanted.
};

/// How many chunks of equal length `tokens` go in: of at most 2^28 logits over
/// `rows` rows of the vocabulary.
std::int64_t fused_chunks(std::int64_t tokens, std::int64_t rows);

/// `linear_cross_entropy` on a GPU, whose arguments these are: logits become
/// their gradient where they lie (kernels/cross_entropy.h), in bf16 for bf16,
/// and dW is summed in fp32 by the products themselves. `weight`: with the
/// padding, whose rows get a gradient of zero. `slice`: what this rank has of
/// the vocabulary.
HeadPass fused_cross_entropy(const at::Tensor& hidden,
                             const at::Tensor& weight,
                             const at::Tensor& targets,
                             double scale,
                             bool wants_gradient,
                             GemmLibrary library,
                             const dist::Slice& slice,
                             const dist::TensorParallel& tp);

}  // namespace mumoe::model
