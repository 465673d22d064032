#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/parameter_registry.h"
#include "mumoe/cp.h"
#include "mumoe/gate.h"

namespace mumoe {

/// What a μMoE block is made of. Counts are of elements; all positive.
struct BlockConfig {
  std::int64_t input_dim = 0;
  /// O of the first layer; I of the second.
  std::int64_t hidden_dim = 0;
  /// O of the second layer; 0: a single layer, without GELU.
  std::int64_t output_dim = 0;
  /// Experts of each level.
  std::vector<std::int64_t> experts;
  /// CP rank R, the same in both layers.
  std::int64_t rank = 0;
  GateNorm gate_norm = GateNorm::layer;
  /// Whether experts see an affine layer norm of the input. The gate always
  /// sees the input itself.
  bool input_layer_norm = true;
  /// Whether every expert has a bias (the folded row of the input factor).
  bool expert_bias = true;
};

/// A gate and one or two CPμMoE layers in place of an MLP:
///   a_e = entmax15(norm(x G_e)),  y = layer2(GELU(layer1(LN(x), a)), a).
/// G starts at zero, so that every token first mixes all experts evenly.
class MuMoEBlock {
 public:
  /// Registers the parameters under `prefix`: gate.E [I, N_E], input_ln.weight,
  /// input_ln.bias, layerK.expert.E [N_E, R], layerK.input [I, R],
  /// layerK.input_bias [R], layerK.output [O, R]. Weight decay applies
  /// to all but the norm: a bias row is part of its matrix.
  MuMoEBlock(BlockConfig config,
             const std::string& prefix,
             dist::ParameterRegistry& registry);

  /// x [..., I] → [..., O] in the compute dtype. x may be of a wider dtype: the
  /// norm then sees all of it, the products its rounded value.
  at::Tensor forward(const at::Tensor& x) const;

  /// The coefficients a_e [T, N_e] of each level for x [T, I].
  std::vector<at::Tensor> coefficients(const at::Tensor& x) const;

  const BlockConfig& config() const { return config_; }

  /// Elements of all parameters of such a block.
  static std::int64_t parameter_count(const BlockConfig& config);
  /// Multiply-accumulates for one token: every weight of the gate and the
  /// factors once (Table 6 of the paper), the norm's not.
  static std::int64_t macs_per_token(const BlockConfig& config);

 private:
  CpFactors add_layer(const std::string& prefix,
                      std::int64_t inputs,
                      std::int64_t outputs,
                      dist::ParameterRegistry& registry) const;

  BlockConfig config_;
  std::vector<at::Tensor> gates_;
  at::Tensor norm_weight_;
  at::Tensor norm_bias_;
  CpFactors first_;
  CpFactors second_;
};

}  // namespace mumoe
