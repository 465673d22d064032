#pragma once

#include <ATen/core/Tensor.h>

#include "mumoe/gate.h"

// a = φ(norm(ℓ)) row by row, and its gradient, outside autograd. Logits [T, N]
// are contiguous fp32, fp64 or bf16; the norm is `layer` or `none`.

namespace mumoe {

/// fp32 for bf16 and fp32, fp64 for fp64: in which statistics are computed.
at::ScalarType compute_type(at::ScalarType dtype);

/// 1 / √(variance + 1e-5), and NaN for a variance that has overflowed: it must
/// not pass for equal logits.
at::Tensor reciprocal_deviation(const at::Tensor& variance);

/// a [T, N] in the dtype of the logits.
at::Tensor gate_rows(const at::Tensor& logits_TN, const GateConfig& config);

/// dℓ [T, N] from da [T, N], which is not read where a is 0.
at::Tensor gate_rows_backward(const at::Tensor& logits_TN,
                              const at::Tensor& a_TN,
                              const at::Tensor& grad_a_TN,
                              const GateConfig& config);

}  // namespace mumoe
