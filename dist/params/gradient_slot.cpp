#include "dist/params/gradient_slot.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/variable.h>

namespace mumoe::dist {
namespace {

/// Null: the parameter has none that is open.
GradientSink* open_sink(const at::Tensor& parameter) {
  if (!parameter.is_leaf()) return nullptr;
  const auto& hook = torch::autograd::impl::post_acc_grad_hooks(parameter);
  auto* const sink = dynamic_cast<GradientSink*>(hook.get());
  return sink != nullptr && sink->open() ? sink : nullptr;
}

}  // namespace

GradientSlot::GradientSlot(const at::Tensor& parameter, bool in_place)
    : parameter_(parameter) {
  if (!parameter.defined() || !parameter.requires_grad()) return;
  sink_ = open_sink(parameter);
  if (sink_ != nullptr) {
    target_ = sink_->target();
    accumulate_ = sink_->filled();
    return;
  }
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
  if (sink_ != nullptr) {
    sink_->arrived();
    return {};
  }
  if (!accumulate_) return target_;
  const auto& hook = torch::autograd::impl::post_acc_grad_hooks(parameter_);
  if (hook != nullptr) (*hook)(parameter_);
  return {};
}

}  // namespace mumoe::dist
