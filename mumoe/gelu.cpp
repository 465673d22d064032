#include "mumoe/gelu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/cpu.h"
#include "mumoe/kernels/element.h"
#include "mumoe/kernels/gelu.h"

namespace mumoe {
namespace {

/// Values that a thread should have at least, to be worth starting.
constexpr std::int64_t kGrain = 1 << 14;

}  // namespace

using kernels::pointer;

at::Tensor gelu(const at::Tensor& x) {
  const at::Tensor y = at::empty_like(x);
  kernels::with_element(x.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* const from = pointer<E>(x);
    E* const to = pointer<E>(y);
    at::parallel_for(0,
                     x.numel(),
                     kGrain,
                     [&](std::int64_t first, std::int64_t last) {
                       kernels::gelu_forward(best_isa(),
                                             from + first,
                                             to + first,
                                             last - first);
                     });
  });
  return y;
}

at::Tensor gelu_backward_(const at::Tensor& grad, const at::Tensor& x) {
  const at::Tensor y = at::empty_like(x);
  kernels::with_element(x.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* const from = pointer<E>(x);
    E* const d = pointer<E>(grad);
    E* const to = pointer<E>(y);
    at::parallel_for(0,
                     x.numel(),
                     kGrain,
                     [&](std::int64_t first, std::int64_t last) {
                       kernels::gelu_backward(best_isa(),
                                              from + first,
                                              d + first,
                                              d + first,
                                              to + first,
                                              last - first);
                     });
  });
  return y;
}

}  // namespace mumoe
