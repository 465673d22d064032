#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "dist/tensor_parallel.h"
#include "model/embedding.h"
#include "model/model.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// scale · Σ_t −log softmax(h_t Wᵀ)[target_t], without ever holding all [T, V]
/// logits: tokens go in chunks of at most 2^24 logits (on a GPU 2^28), each
/// chunk's gradient is made while its logits are at hand, and only dh [T, C]
/// and dW [V, C] are kept for backward.
///
/// `hidden` [T, C] and `weight` [V, C] of one dtype; `targets` [T] int64 in
/// [0, V). Products in that dtype; softmax, loss and the sum of dW over chunks
/// in fp32 (fp64 for fp64). Returns a scalar of that wider dtype,
/// differentiable in `hidden` and `weight`.
///
/// Over a tp group `weight` is this rank's slice of V rows, zero-padded to
/// equal parts; padding takes no part in the softmax. Every rank returns the
/// whole loss, and a partial dh, to be summed over the group. Collective: one
/// all-gather of two numbers a token for each chunk.
at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& weight,
                                const at::Tensor& targets,
                                double scale,
                                GemmLibrary gemm = preferred_gemm_library(),
                                const Vocabulary& vocabulary = {});

/// Each token's own term, −log softmax(h_t Wᵀ)[target_t], without gradients:
/// [T] fp64, the same on all ranks of a tp group. A token's is a function of
/// its row and of the number of rows alone, as far as the product's is.
/// Collective as `linear_cross_entropy`.
at::Tensor token_cross_entropy(const at::Tensor& hidden,
                               const at::Tensor& weight,
                               const at::Tensor& targets,
                               GemmLibrary gemm = preferred_gemm_library(),
                               const Vocabulary& vocabulary = {});

/// Of one call with `tokens` tokens on `device`, forward and backward.
PassCost linear_cross_entropy_cost(std::int64_t tokens,
                                   const at::Tensor& weight,
                                   const Vocabulary& vocabulary,
                                   at::Device device);

}  // namespace mumoe::model
