#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace mumoe {

/// What stands before a sublayer: the residual stream after the one before it,
/// and what this one sees of it.
struct Normed {
  at::Tensor sum;      ///< s = x + y, in x's dtype.
  at::Tensor rounded;  ///< s in y's dtype; undefined: not asked for.
  at::Tensor result;   ///< LN(s) in y's dtype.
};

/// Whether `residual_norm` takes rows of `width` elements of a stream of type
/// `stream` beside sublayers that compute in `dtype`: on a GPU, where the
/// stream is in the dtype of masters of `dtype`.
bool fuses_residual_norm(at::Device device,
                         at::ScalarType stream,
                         at::ScalarType dtype,
                         std::int64_t width);

/// s = x + y, LN(s) = (s − mean) / √(var + 1e-5) ∘ w + b, and s rounded, in one
/// pass over memory, and so is backward (kernels/norm.h). `x` [T, C];
/// `y` [T, C] in the narrower dtype, or undefined: nothing is added and `sum`
/// is x. `weight` and `bias` [C] in x's dtype, `bias` maybe undefined.
/// Gradients of both go to their open sinks (`dist::GradientSink`).
/// Differentiable once.
Normed residual_norm(const at::Tensor& x,
                     const at::Tensor& y,
                     const at::Tensor& weight,
                     const at::Tensor& bias,
                     at::ScalarType dtype,
                     bool rounded);

}  // namespace mumoe
