#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "mumoe/form.h"
#include "mumoe/kernels/combine_shape.h"

// TRμMoE (arXiv 2402.12550, Eq. 3), E levels in a ring of ranks r_1 … r_{E+2}:
//   W[n_1, …, n_E, i, o] = tr(U_1[n_1] ⋯ U_E[n_E] U_I[i] U_O[o]ᵀ)
//   y_o = Σ C ∘ U_O[o],   C = M_1 ⋯ M_E Q,
//   M_e = Σ_n a_e[n] U_e[n],   Q = Σ_i z_i U_I[i] + B
// The small matrices are multiplied first. A tensor train is the case r_1 = 1.

namespace mumoe {

/// Sizes of C [r_1, r_{E+2}] = M_1 ⋯ M_E Q, M_e [r_e, r_{e+1}].
kernels::CombineShape tr_combination(const LayerShape& shape);

/// One expert's matrix [I, O] from its slice [r_e, r_{e+1}] of each level's
/// core.
at::Tensor tr_matrix(const std::vector<at::Tensor>& rows,
                     const at::Tensor& input,
                     const at::Tensor& output);

}  // namespace mumoe
