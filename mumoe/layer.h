#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "mumoe/combine.h"
#include "mumoe/factors.h"
#include "mumoe/gemm.h"
#include "mumoe/sharding.h"

// One μMoE layer without autograd, in three steps that are the same for every
// form:
//   project   q = z U_I            (Tucker: (z U_I + b) times the core)
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
};

/// What the forward pass leaves for backward, beside its operands.
struct LayerKept {
  at::Tensor projection;  ///< q [T, projection], CP and rings without bias
  at::Tensor inner;       ///< Tucker: z U_I + b [T, RI]
  /// c of all tokens, where the sharding keeps it.
  at::Tensor combined;
};

LayerKept layer_project(const LayerOperands& layer, const at::Tensor& z);

/// c, of all tokens where the outputs are cut; kept if the sharding asks.
at::Tensor layer_combine(const LayerOperands& layer, LayerKept& kept);

at::Tensor layer_expand(const LayerOperands& layer, const at::Tensor& combined);

/// Where the gradients of factors go. With `in_place`, a factor that is a leaf
/// and has a .grad of its shape gets its gradient added there by the product
/// itself, its post-accumulation hook is called, and no gradient is returned
/// for it: nothing of the factor's size is allocated.
struct FactorGradients {
  bool in_place = false;
  Factors returned = {};
};

/// Gives z again, once dz is known (undefined where it is not wanted): what
/// made z, a norm or GELU, can then use both in one pass.
using RestoreInput = std::function<at::Tensor(const at::Tensor& grad_input)>;

/// What backward does with one layer, beside its gradients.
struct LayerBackward {
  /// Whether dz is computed for `restore`.
  bool input_wanted = true;
  /// Whether no further layer adds to the coefficients' gradients.
  bool last = true;
  const RestoreInput& restore;
};

/// The gradients of `layer` from dy: factors' into `gradients`, the
/// coefficients' added to `da` (empty: none yet), complete after the last
/// layer. A factor that needs no gradient costs none.
void layer_backward(const LayerOperands& layer,
                    const LayerKept& kept,
                    const at::Tensor& grad_output,
                    const LayerBackward& how,
                    FactorGradients& gradients,
                    std::vector<at::Tensor>& da);

}  // namespace mumoe
