#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "mumoe/kernels/combine_shape.h"

// What happens between the matrix products of a μMoE layer, on the CPU; free of
// LibTorch. `E` is float, double or Bf16 (computed in fp32, rounded when
// stored). Sums over experts run in the order of the experts, so results do not
// depend on how rows are shared out over threads.

namespace mumoe::kernels {

/// c for rows `first` to `last` − 1: mixing of the active experts, bias and
/// combination in one pass, so that neither m nor q + b ever lies in memory.
template <class E>
void combine_forward(Isa isa,
                     const CombineShape& shape,
                     const CombineForward<E>& matrices,
                     std::int64_t first,
                     std::int64_t last);

/// Its gradients, rows `first` to `last` − 1; m is formed again, not kept.
///   hadamard:  dq = dc ∘ Πm,  dm_e = dc ∘ (q + b) ∘ Π_{f≠e} m_f
///   ring, kronecker:  G = M₁⋯M_E or ⊗m;  dQ = Gᵀ dc,  dG = dc (Q + b)ᵀ,
///     and from dG each dm_e by the product rule
///   da_e[n] = dm_e · U_e[n], with dm_e as it is stored, after rounding
template <class E>
void combine_backward(Isa isa,
                      const CombineShape& shape,
                      const CombineBackward<E>& matrices,
                      std::int64_t first,
                      std::int64_t last);

/// Columns of a vector and those left over may round differently: cuts between
/// vectors leave every column what it is.
constexpr std::int64_t kExpertGradientCut = 16;

/// dU[n] = Σ_t a[t, n] dm[t] over the non-zero coefficients, for columns
/// `first` to `last` − 1 of dU [experts, width]; summed in fp32 (fp64), in the
/// order of the tokens. With `accumulate`, added to what dU holds. Results do
/// not depend on how columns are shared out in multiples of
/// `kExpertGradientCut`.
template <class E>
void expert_gradient(Isa isa,
                     const E* coefficients,
                     const E* grad_mixed,
                     E* grad_expert,
                     std::int64_t rows,
                     std::int64_t experts,
                     std::int64_t width,
                     std::int64_t first,
                     std::int64_t last,
                     bool accumulate);

/// How many of `count` values are not zero (NaN is not).
template <class E>
std::int64_t count_nonzero(Isa isa, const E* values, std::int64_t count);

}  // namespace mumoe::kernels
