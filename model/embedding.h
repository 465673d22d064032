#pragma once

#include <ATen/core/Tensor.h>

namespace mumoe::model {

/// Rows of `weight` [V, C] for `ids` (int64, any shape): [..., C].
/// Differentiable in `weight`. The gradient of a row is summed in fp32 (fp64
/// for fp64): a common token would lose most of a bf16 sum.
at::Tensor embed(const at::Tensor& weight, const at::Tensor& ids);

}  // namespace mumoe::model
