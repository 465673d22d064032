#include "dist/params/gradient_slot.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace mumoe::dist {

GradientSlot::GradientSlot(const at::Tensor& parameter, bool in_place)
    : parameter_(parameter) {
  if (!parameter.defined() || !parameter.requires_grad()) return;
  const at::Tensor held =
      in_place && parameter.is_leaf() ? parameter.grad() : at::Tensor();
  accumulate_ = held.defined() && held.is_contiguous() &&
                held.scalar_type() == parameter.scalar_type();
  target_ =
      accumulate_ ? held : at::empty(parameter.sizes(), parameter.options());
}

void GradientSlot::put(const at::Tensor& gradient) const {
  if (accumulate_) {
    target_.add_(gradient);
  } else {
    target_.copy_(gradient);
  }
}

at::Tensor GradientSlot::finish() const {
  if (!accumulate_) return target_;
  const auto& hook = torch::autograd::impl::post_acc_grad_hooks(parameter_);
  if (hook != nullptr) (*hook)(parameter_);
  return {};
}

}  // namespace mumoe::dist
