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

/// Logits of one chunk: 512 MiB in bf16. Fewer and larger products are faster,
/// and each chunk reads and writes all of dW.
inline constexpr std::int64_t kFusedLogits = std::int64_t{1} << 28;

/// How many chunks of equal length `tokens` go in: of at most `most` logits
/// over `rows` rows of the vocabulary, or of one token.
std::int64_t fused_chunks(std::int64_t tokens,
                          std::int64_t rows,
                          std::int64_t most = kFusedLogits);

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
                             const dist::TensorParallel& tp,
                             std::int64_t most = kFusedLogits);

}  // namespace mumoe::model
