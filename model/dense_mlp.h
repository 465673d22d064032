#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "dist/params/parameter_registry.h"
#include "dist/tensor_parallel.h"
#include "model/config.h"
#include "model/model.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// How a dense MLP begins, whether it has a norm of its own, and whether it is
/// whole on all ranks of the registry's tp group.
struct DenseMlpKind {
  dist::Initializer first;
  dist::Initializer last;
  dist::Initializer first_bias = dist::Initializer::constant(0);
  dist::Initializer last_bias = dist::Initializer::constant(0);
  bool norm = true;
  bool whole = false;
  Gelu gelu = Gelu::exact;

  /// GPT-2's, of so many blocks: N(0, 0.02²), the last one's by √(2 depth)
  /// less.
  static DenseMlpKind gpt2(std::int64_t depth);
  /// PyTorch's for linear layers, U(±1/√inputs), and no norm: the Mixer's.
  static DenseMlpKind uniform(std::int64_t width, std::int64_t hidden);
};

/// The MLP that a μMoE block replaces: LN → linear → GELU → linear.
class DenseMlp {
 public:
  /// Registers under `prefix`: ln.weight if it has a norm, fc [hidden, C], proj
  /// [C, hidden] and, with `bias`, ln.bias, fc_bias, proj_bias. Over a tp group
  /// the hidden dim is cut (Megatron, arXiv 1909.08053).
  DenseMlp(std::int64_t width,
           std::int64_t hidden,
           const DenseMlpKind& kind,
           bool bias,
           const std::string& prefix,
           dist::ParameterRegistry& registry,
           GemmLibrary gemm = preferred_gemm_library(),
           const dist::TensorParallel& tp = {});

  /// x [rows, C] → [rows, C] in the compute dtype; x may be of a wider dtype.
  /// Collective over the tp group.
  at::Tensor forward(const at::Tensor& x) const;
  /// The same from z = LN(x) in the compute dtype.
  at::Tensor forward_normed(const at::Tensor& z) const;
  const at::Tensor& norm_weight() const { return norm_weight_; }
  /// Undefined: it has none; so is the weight without a norm.
  const at::Tensor& norm_bias() const { return norm_bias_; }

  /// Whoever looks at it inside of a model: receives the hidden units of every
  /// forward pass from now on, behind GELU: [rows, hidden], of a tp group this
  /// rank's part of them. Empty: nobody.
  using Watcher = std::function<void(const at::Tensor& hidden)>;
  void watch(Watcher watcher) const { watcher_ = std::move(watcher); }

  /// For `tokens` tokens of the tp group, whose input has `input` bytes an
  /// element.
  PassCost cost(std::int64_t tokens, double input) const;

 private:
  at::Tensor norm_weight_;
  at::Tensor norm_bias_;
  at::Tensor fc_;
  at::Tensor fc_bias_;
  at::Tensor proj_;
  at::Tensor proj_bias_;
  std::int64_t hidden_;  ///< Of all ranks.
  Gelu gelu_;
  GemmLibrary gemm_;
  dist::TensorParallel tp_;
  mutable Watcher watcher_;
};

}  // namespace mumoe::model
