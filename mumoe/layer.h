#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "mumoe/combine.h"
#include "mumoe/factors.h"
#include "mumoe/gemm.h"
#include "mumoe/sharding.h"

// One μMoE layer without autograd, in three steps that are the same for every
// form:
//   project   q = z U_I            (with a core: (z U_I + b) times it)
//   combine   c = m_1 … m_E with q + b                  mumoe/combine.h
//   expand    y = c U_Oᵀ
// and its gradients, written out (arXiv 2402.12550, Appendix B,
// differentiated).
//
// Shapes: T tokens; z [T, I], a_e [T, N_e], y [T, O].

namespace mumoe {

/// What a layer computes with. Refers to its makers' tensors.
struct LayerOperands {
  const std::vector<at::Tensor>& coefficients;
  const SparseLevels& sparse;
  const Factors& factors;
  LayerSharding sharding;
  GemmLibrary library;
  /// See `combine_backward`.
  bool support_only = false;
  /// See `dist::GradientSlot`.
  bool gradients_in_place = false;
};

/// What the forward pass leaves for backward, beside its operands.
struct LayerKept {
  at::Tensor projection;  ///< q [T, projection], without bias if no core
  at::Tensor inner;       ///< Where there is a core: z U_I + b [T, RI]
  /// c of all tokens, where the sharding keeps it.
  at::Tensor combined;

  template <class F>
  void each(F f) {
    for (at::Tensor* t : {&projection, &inner, &combined}) f(*t);
  }
};

LayerKept layer_project(const LayerOperands& layer, const at::Tensor& z);

/// c, of all tokens where the outputs are cut; kept if the sharding asks.
at::Tensor layer_combine(const LayerOperands& layer, LayerKept& kept);

at::Tensor layer_expand(const LayerOperands& layer, const at::Tensor& combined);

/// What backward does with one layer.
struct LayerBackward {
  /// Whether dz is wanted.
  bool input_wanted = true;
  /// Whether no further layer adds to the coefficients' gradients.
  bool last = true;
};

/// What `layer_backward` gives to the layer's input.
struct InputGradient {
  at::Tensor input;       ///< dz; undefined where it is not wanted
  at::Tensor projection;  ///< d(z U_I), of the tokens that z has
};

/// The gradients of `layer` from dy: all factors' but the input's into
/// `gradients` (undefined: added in place, or not needed), the coefficients'
/// added to `da` (empty: none yet), complete after the last layer.
InputGradient layer_backward(const LayerOperands& layer,
                             const LayerKept& kept,
                             const at::Tensor& grad_output,
                             const LayerBackward& how,
                             Factors& gradients,
                             std::vector<at::Tensor>& da);

/// The last step: the gradient of the input factor, from z, which whoever made
/// it forms again, and d(z U_I).
void input_factor_backward(const LayerOperands& layer,
                           const at::Tensor& z,
                           const at::Tensor& grad_projection,
                           Factors& gradients);

}  // namespace mumoe
