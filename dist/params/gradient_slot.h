#pragma once

#include <ATen/core/Tensor.h>

namespace mumoe::dist {

/// Where a node of autograd that writes its gradients out puts that of one
/// parameter. The contract: a leaf that has a .grad, which is its part of a
/// flat bucket (`GradientReducer`), may have its gradient added there by the
/// product that makes it; whoever does so tells the reducer, by the leaf's
/// post-accumulation hook, and returns nothing to autograd. Nothing of the
/// parameter's size is then allocated. Otherwise the gradient is a tensor of
/// its own, which autograd adds and reports.
///
///   GradientSlot slot(parameter, in_place);
///   if (slot.wanted()) { write or add to slot.target() }
///   return slot.finish();
class GradientSlot {
 public:
  /// `in_place`: whether the .grad may be used, which torch::autograd::grad
  /// does not expect.
  GradientSlot(const at::Tensor& parameter, bool in_place);

  /// Whether the parameter is there and needs a gradient.
  bool wanted() const { return target_.defined(); }
  /// Shaped like the parameter; without values unless `accumulate`.
  const at::Tensor& target() const { return target_; }
  /// Whether the gradient is to be added to what `target` holds.
  bool accumulate() const { return accumulate_; }
  /// Stores or adds a gradient that is a tensor already.
  void put(const at::Tensor& gradient) const;

  /// Once the target is written: what the node returns to autograd.
  at::Tensor finish() const;

 private:
  at::Tensor parameter_;
  at::Tensor target_;
  bool accumulate_ = false;
};

}  // namespace mumoe::dist
