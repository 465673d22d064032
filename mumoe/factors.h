#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "mumoe/form.h"
#include "mumoe/sharding.h"

namespace mumoe {

/// The factors of one μMoE layer, as `factor_specs` lists them; the expert
/// tensor W [N_1, …, N_E, I, O] exists only as these. Undefined: what the layer
/// does not have (a bias row, a core). A copy shares the storage, as copies of
/// tensors do: what is written into one (under at::NoGradGuard) is written into
/// the block.
struct Factors {
  Form form = Form::cp;
  std::vector<at::Tensor> expert = {};
  at::Tensor input = {};
  at::Tensor input_bias = {};
  at::Tensor core = {};
  at::Tensor output = {};

  /// The tensor that `spec` describes.
  at::Tensor& of(const FactorSpec& spec);
  const at::Tensor& of(const FactorSpec& spec) const;
  /// Calls `f(tensor)` for all, undefined ones too, always in one order.
  template <class F>
  void each(F f) {
    for (at::Tensor& level : expert) f(level);
    for (at::Tensor* u : {&input, &input_bias, &core, &output}) f(*u);
  }

  /// Throws `InternalError` when the tensors do not fit together.
  LayerShape shape() const;
};

/// A factor as the matrix of its products: [N_e | I | O, all other dims].
at::Tensor factor_matrix(const at::Tensor& factor);
/// A core as the matrix [RI, ΠRN_e · RO] that z's projection meets.
at::Tensor core_matrix(const at::Tensor& core);

/// The matrix [I, O] and the bias [O] (zeros without expert biases) of the
/// expert with index `indices[e]` at level e. Differentiable.
struct Expert {
  at::Tensor matrix;
  at::Tensor bias;
};
Expert materialize(const Factors& factors,
                   const std::vector<std::int64_t>& indices);

/// Registers the factors of a layer as PREFIXexpert.E, PREFIXinput,
/// PREFIXinput_bias, PREFIXcore and PREFIXoutput, decayed all, with the
/// initialisation of the authors' code:
///   expert             N(1, 1), on the diagonals of its matrices if it has any
///   input, input_bias  U(±1/√I)
///   core               N(0, 1/elements): Frobenius norm 1 on average
///   output             U(±1/√(elements of c))
/// All experts start near one linear layer. Levels after the first start equal
/// for all their experts; then every one of their rows receives the same
/// gradient and none can specialise, a symmetric saddle. `level_noise` σ > 0
/// starts those levels at N(1, σ²) where the authors have 1. `cut`: what ranks
/// hold slices of.
Factors add_factors(const LayerShape& shape,
                    double level_noise,
                    const std::string& prefix,
                    dist::ParameterRegistry& registry,
                    LayerCut cut = LayerCut::none);

}  // namespace mumoe
