#pragma once

#include <ATen/core/Tensor.h>

namespace mumoe {

/// GELU(x) = x Φ(x), exact, elementwise; contiguous x. Not differentiable.
at::Tensor gelu(const at::Tensor& x);

/// Turns dy, where it lies, into dx = dy (Φ(x) + x φ(x)), and returns GELU(x),
/// which the same pass yields. Both contiguous.
at::Tensor gelu_backward_(const at::Tensor& grad, const at::Tensor& x);

}  // namespace mumoe
