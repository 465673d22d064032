#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "mumoe/combine.h"
#include "mumoe/factors.h"
#include "mumoe/gemm.h"

// One μMoE layer without autograd, in three steps that are the same for every
// form:
//   project   q = z U_I            (Tucker: (z U_I + b) times the core)
//   combine   c = m_1 … m_E with q + b                  mumoe/combine.h
//   output    y = c U_Oᵀ
// and its gradients, written out (arXiv 2402.12550, Appendix B,
// differentiated).
//
// Shapes: T tokens; z [T, I], a_e [T, N_e], y [T, O].

namespace mumoe {

/// What the forward pass leaves for backward, beside its operands.
struct LayerKept {
  at::Tensor projection;  ///< q [T, projection], CP and rings without bias
  at::Tensor inner;       ///< Tucker: z U_I + b [T, RI]
};

LayerKept layer_project(const at::Tensor& z,
                        const Factors& factors,
                        GemmLibrary library);

at::Tensor layer_output(const std::vector<at::Tensor>& coefficients,
                        const SparseLevels& sparse,
                        const Factors& factors,
                        const LayerKept& kept,
                        GemmLibrary library);

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

/// da_e from dy. `support_only`: see `combine_backward`. `input_wanted`:
/// whether dz is computed for `restore`. A factor that needs no gradient costs
/// none.
std::vector<at::Tensor> layer_backward(
    const std::vector<at::Tensor>& coefficients,
    const SparseLevels& sparse,
    const Factors& factors,
    const LayerKept& kept,
    const at::Tensor& grad_output,
    bool support_only,
    bool input_wanted,
    const RestoreInput& restore,
    GemmLibrary library,
    FactorGradients& gradients);

}  // namespace mumoe
