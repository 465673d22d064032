#pragma once

#include <ATen/core/Tensor.h>

#include "mumoe/gemm.h"

namespace mumoe::model {

/// scale · Σ_t −log softmax(h_t Wᵀ)[target_t], without ever holding all [T, V]
/// logits: tokens go in chunks of at most 2^24 logits, each chunk's gradient is
/// made while its logits are at hand, and only dh [T, C] and dW [V, C] are kept
/// for backward.
///
/// `hidden` [T, C] and `weight` [V, C] of one dtype; `targets` [T] int64 in
/// [0, V). Products in that dtype; softmax, loss and the sum of dW over chunks
/// in fp32 (fp64 for fp64). Returns a scalar of that wider dtype,
/// differentiable in `hidden` and `weight`.
at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& weight,
                                const at::Tensor& targets,
                                double scale,
                                GemmLibrary gemm = fastest_gemm_library());

}  // namespace mumoe::model
