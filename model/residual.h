#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/dense_mlp.h"
#include "mumoe/block.h"

namespace mumoe::model {

/// The residual stream x [rows, C] of a model whose sublayers see a norm of it,
/// x ← x + f(LN(x)), and compute in a narrower dtype. Where there are kernels
/// for it (`residual_norm`), what a sublayer gives is added in the pass of the
/// next norm; elsewhere at once, by LibTorch's operations.
class Residual {
 public:
  static constexpr double kNormEpsilon = 1e-5;

  /// `epsilon`: what its norms add to variances; kernels know the usual one
  /// alone.
  Residual(at::Tensor x, at::ScalarType compute, double epsilon = kNormEpsilon);
  /// As `state` said of another one.
  Residual(const std::vector<at::Tensor>& state,
           at::ScalarType compute,
           double epsilon = kNormEpsilon);
  /// All that it holds: x and, where there is one, what is to be added to it.
  std::vector<at::Tensor> state() const;

  /// What a sublayer has computed.
  void add(const at::Tensor& y);
  /// LN(x) in the compute dtype; `bias` may be undefined.
  at::Tensor normed(const at::Tensor& weight, const at::Tensor& bias);
  /// What an MLP with a norm of its own makes of x. Collective over its tp
  /// group.
  at::Tensor through(const DenseMlp& mlp);
  at::Tensor through(const MuMoEBlock& block);

 private:
  at::Tensor x_;
  at::Tensor pending_;  ///< To be added to it.
  at::ScalarType compute_;
  double epsilon_;
  bool fused_;
};

}  // namespace mumoe::model
