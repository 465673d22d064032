#pragma once

#include <ATen/core/Tensor.h>

namespace mumoe {

/// GELU(x) = x Φ(x), exact (with erf), elementwise. Differentiable once; keeps
/// x.
at::Tensor gelu(const at::Tensor& x);

/// The same of a contiguous x, without autograd.
at::Tensor gelu_forward(const at::Tensor& x);

/// Turns dy, where it lies, into dx = dy (Φ(x) + x φ(x)), and returns GELU(x),
/// which the same pass yields. Both contiguous.
at::Tensor gelu_backward_(const at::Tensor& grad, const at::Tensor& x);

}  // namespace mumoe
