#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "mumoe/form.h"
#include "mumoe/sharding.h"

namespace mumoe {

/// The factors of one μMoE layer; the expert tensor W [N_1, …, N_E, I, O]
/// exists only as these. The dim that is summed with an operand comes first:
///   factor      CP [cp.h]  ring, train [tr.h]     Tucker [tucker.h]
///   expert e    [N_e, R]   [N_e, r_e, r_{e+1}]    [N_e, RN_e]
///   input       [I, R]     [I, r_{E+1}, r_{E+2}]  [I, RI]
///   input_bias  [R]        [r_{E+1}, r_{E+2}]     [RI]
///   output      [O, R]     [O, r_1, r_{E+2}]      [O, RO]
///   core                                          [RN_1, …, RN_E, RI, RO]
/// `input_bias` is the bias row that the paper folds into the input factor, a
/// tensor of its own here; undefined for a layer without expert biases. Other
/// forms than Tucker leave `core` undefined.
struct Factors {
  Form form = Form::cp;
  std::vector<at::Tensor> expert = {};
  at::Tensor input = {};
  at::Tensor input_bias = {};
  at::Tensor core = {};
  at::Tensor output = {};

  /// Throws `InternalError` when the tensors do not fit together.
  LayerShape shape() const;
};

/// A factor as the matrix of its products: [N_e | I | O, all other dims].
at::Tensor factor_matrix(const at::Tensor& factor);

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
/// initialisation of the authors' code: all experts start near one linear
/// layer. Levels after the first start equal for all their experts; then every
/// one of their rows receives the same gradient and none can specialise, a
/// symmetric saddle. `level_noise` σ > 0 starts those levels at N(1, σ²) where
/// the authors have 1. `cut`: what ranks hold slices of.
Factors add_factors(const LayerShape& shape,
                    double level_noise,
                    const std::string& prefix,
                    dist::ParameterRegistry& registry,
                    LayerCut cut = LayerCut::none);

}  // namespace mumoe
