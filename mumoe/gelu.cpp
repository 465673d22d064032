#include "mumoe/gelu.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "dist/torch_text.h"
#include "mumoe/kernels/gelu.h"
#include "mumoe/kernels/on_device.h"

namespace mumoe {
namespace {

using kernels::pointer;

/// Values that a thread should have at least, to be worth starting.
constexpr std::int64_t kGrain = 1 << 14;

/// Calls `pass(kernel, part, count, stream)` for all values of `x`, in ranges
/// of `count`; `part(t)` is where the range begins in a tensor like x, or null
/// for an undefined one.
template <class Pass>
void over_values(const at::Tensor& x, const Pass& pass) {
  const c10::OptionalDeviceGuard guard(x.device());
  kernels::with_element(x.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const auto& kernel = kernels::row_for<E>(kernels::gelu_kernels, x.device());
    kernels::over_ranges(
        x.device(),
        x.numel(),
        kGrain,
        [&](std::int64_t first, std::int64_t last, void* stream) {
          const auto part = [first](const at::Tensor& t) {
            E* const values = pointer<E>(t);
            return values == nullptr ? nullptr : values + first;
          };
          pass(kernel, part, last - first, stream);
        });
  });
}

/// dx, and y when it is defined.
void backward_into(const at::Tensor& dx,
                   const at::Tensor& dy,
                   const at::Tensor& x,
                   const at::Tensor& y) {
  over_values(x, [&](const auto& kernel, auto part, auto count, void* stream) {
    kernel.backward(stream, part(x), part(dy), part(dx), part(y), count);
  });
}

struct Gelu : torch::autograd::Function<Gelu> {
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const at::Tensor& x) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({x});
    return gelu_forward(x.contiguous());
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::variable_list& grads) {
    require(!at::GradMode::is_enabled(),
            "gelu: a gradient of its gradient was asked for; it is "
            "differentiable once");
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor dy = grads[0].contiguous();  // it may come transposed
    const at::Tensor dx = at::empty_like(dy);
    backward_into(dx, dy, x.contiguous(), {});
    return {dx};
  }
};

}  // namespace

at::Tensor gelu(const at::Tensor& x) {
  return Gelu::apply(x);
}

at::Tensor gelu_forward(const at::Tensor& x) {
  const at::Tensor y = at::empty_like(x);
  over_values(x, [&](const auto& kernel, auto part, auto count, void* stream) {
    kernel.forward(stream, part(x), part(y), count);
  });
  return y;
}

at::Tensor gelu_backward_(const at::Tensor& grad, const at::Tensor& x) {
  const at::Tensor y = at::empty_like(x);
  backward_into(grad, grad, x, y);
  return y;
}

}  // namespace mumoe
