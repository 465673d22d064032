#pragma once

#include <ATen/core/Tensor.h>

#include "base/error.h"
#include "mumoe/kernels/bf16.h"

// From LibTorch's tensors to the kernels' pointers.

namespace mumoe::kernels {

/// Calls `f(E{})` with the kernels' element type for `dtype`. Throws
/// `InternalError` for another than fp32, fp64 and bf16.
template <class F>
void with_element(at::ScalarType dtype, F f) {
  switch (dtype) {
    case at::kFloat:
      return f(float{});
    case at::kDouble:
      return f(double{});
    case at::kBFloat16:
      return f(Bf16{});
    default:
      fail<InternalError>("no kernels for {}", dtype);
  }
}

/// The values of a contiguous tensor; null for an undefined one.
template <class E>
E* pointer(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  MUMOE_CHECK(tensor.is_contiguous() &&
              tensor.element_size() == static_cast<std::int64_t>(sizeof(E)));
  return static_cast<E*>(tensor.data_ptr());
}

}  // namespace mumoe::kernels
