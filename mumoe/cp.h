#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "mumoe/form.h"
#include "mumoe/kernels/combine_shape.h"

// CPμMoE (arXiv 2402.12550, Eq. 2):
//   W[n_1, …, n_E, i, o] = Σ_r U_1[n_1, r] ⋯ U_E[n_E, r] · U_I[i, r] · U_O[o,
//   r] y = U_O c,   c = (Π∘_e U_eᵀ a_e) ∘ q,   q = U_Iᵀ z + b     (Appendix B)
// Each weight is used once a token, and no other order of the sums is cheaper
// at a realistic size.

namespace mumoe {

/// Sizes of c = m_1 ∘ … ∘ m_E ∘ q, m_e = U_eᵀ a_e; all of length R.
kernels::CombineShape cp_combination(const LayerShape& shape);

/// One expert's matrix, U_I diag(Π_e row_e) U_Oᵀ [I, O], from its row [R] of
/// each level's factor.
at::Tensor cp_matrix(const std::vector<at::Tensor>& rows,
                     const at::Tensor& input,
                     const at::Tensor& output);

}  // namespace mumoe
