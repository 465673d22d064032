#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/function_hook.h>

namespace mumoe::dist {

/// A post-accumulation hook of a leaf that takes the leaf's gradient itself, in
/// a dtype that may be wider than the leaf's: a product of bf16 matrices then
/// adds to fp32 sums without a pass of its own.
class GradientSink : public torch::autograd::PostAccumulateGradHook {
 public:
  /// Whether it takes the gradient now: a backward pass was announced, and has
  /// not brought it yet.
  virtual bool open() const = 0;
  /// Where the gradient belongs, shaped like the leaf; contiguous.
  virtual at::Tensor target() const = 0;
  /// Whether `target` holds something to add to; else it has no values.
  virtual bool filled() const = 0;
  /// The gradient has been stored or added.
  virtual void arrived() = 0;
};

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
  /// does not expect. A sink that is open always is.
  GradientSlot(const at::Tensor& parameter, bool in_place);

  /// Whether the parameter is there and needs a gradient.
  bool wanted() const { return target_.defined(); }
  /// Shaped like the parameter, maybe of a wider dtype; without values unless
  /// `accumulate`.
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
  GradientSink* sink_ = nullptr;
};

}  // namespace mumoe::dist
