#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "mumoe/form.h"
#include "mumoe/kernels/combine_shape.h"

// TuckerμMoE (in the first version of the authors' code):
//   W = Z ×_1 U_1 ⋯ ×_E U_E ×_I U_I ×_O U_O,   Z [RN_1, …, RN_E, RI, RO]
//   y = U_O c,   c = (m_1 ⊗ … ⊗ m_E) Q,   Q = Z ×_I (U_Iᵀ z + b),
//   m_e = U_eᵀ a_e
// The core meets z first: that is one product over all tokens, and leaves per
// token a matrix Q [ΠRN_e, RO].

namespace mumoe {

/// Sizes of c [RO] = (⊗ m_e) Q, m_e of length RN_e.
kernels::CombineShape tucker_combination(const LayerShape& shape);

/// The core as the matrix [RI, ΠRN_e · RO] that z's projection meets.
at::Tensor tucker_core_matrix(const at::Tensor& core);

/// One expert's matrix [I, O] from its row [RN_e] of each level's factor.
at::Tensor tucker_matrix(const std::vector<at::Tensor>& rows,
                         const at::Tensor& input,
                         const at::Tensor& core,
                         const at::Tensor& output);

}  // namespace mumoe
