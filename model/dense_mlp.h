#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "dist/params/parameter_registry.h"
#include "dist/tensor_parallel.h"
#include "model/model.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// The MLP that a μMoE block replaces: LN → linear → GELU (exact) → linear.
class DenseMlp {
 public:
  /// Registers under `prefix`: ln.weight, fc [hidden, C], proj [C, hidden] and,
  /// with `bias`, ln.bias, fc_bias, proj_bias. `depth`: as in `Attention`.
  /// Over a tp group the hidden dim is cut (Megatron, arXiv 1909.08053).
  DenseMlp(std::int64_t width,
           std::int64_t hidden,
           std::int64_t depth,
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
  /// Undefined: it has none.
  const at::Tensor& norm_bias() const { return norm_bias_; }

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
  GemmLibrary gemm_;
  dist::TensorParallel tp_;
};

}  // namespace mumoe::model
