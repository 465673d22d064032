#pragma once

#include <cstdint>

#include "mumoe/kernels/combine_shape.h"
#include "mumoe/kernels/table.h"

// What happens between the matrix products of a μMoE layer. `E` is float,
// double or Bf16 (computed in fp32, rounded when stored). Sums over experts run
// in the order of the experts, and only whole numbers are added atomically:
// results do not depend on how rows are shared out over threads.

namespace mumoe::kernels {

/// Most values that a mixed matrix, or a product of them from the left, may
/// have on a GPU (ring and kronecker: G is the last of these products), and
/// that all of them together may have. They lie in a block's shared memory.
constexpr std::int64_t kCombineMaxMatrix = 1024;
constexpr std::int64_t kCombineMaxMatrices = 2048;

/// CUDA: `first` is 0; widths and counts of experts below 2³⁰; `InputError` for
/// matrices above the limits. 16-byte accesses where sizes and addresses allow.
template <class E>
struct CombineKernels {
  /// c for rows `first` to `last` − 1: mixing of the active experts, bias and
  /// combination in one pass, so that neither m nor q + b ever lies in memory.
  void (*forward)(void* stream,
                  const CombineShape& shape,
                  const CombineForward<E>& matrices,
                  std::int64_t first,
                  std::int64_t last);

  /// Its gradients, rows `first` to `last` − 1; m is formed again, not kept.
  ///   hadamard:  dq = dc ∘ Πm,  dm_e = dc ∘ (q + b) ∘ Π_{f≠e} m_f
  ///   ring, kronecker:  G = M₁⋯M_E or ⊗m;  dQ = Gᵀ dc,  dG = dc (Q + b)ᵀ,
  ///     and from dG each dm_e by the product rule
  ///   da_e[n] = dm_e · U_e[n], with dm_e as it is stored, after rounding
  void (*backward)(void* stream,
                   const CombineShape& shape,
                   const CombineBackward<E>& matrices,
                   std::int64_t first,
                   std::int64_t last);

  /// Adds to `*sum` how many of `count` values are not zero (NaN is not).
  void (*count_nonzero)(void* stream,
                        const E* values,
                        std::int64_t count,
                        std::int64_t* sum);
};

using CombineRow = Row<CombineKernels, float, double, Bf16>;
using CombineTable = Table<CombineKernels, float, double, Bf16>;
MUMOE_DECLARE_ROWS(CombineRow, combine_row)
extern const CombineTable combine_kernels;

/// Columns of a vector and those left over may round differently: cuts between
/// vectors leave every column what it is.
constexpr std::int64_t kExpertGradientCut = 16;

/// For coefficients of which most are zero. On the CPU alone.
template <class E>
struct MixingKernels {
  /// dU[n] = Σ_t a[t, n] dm[t] over the non-zero coefficients, for columns
  /// `first` to `last` − 1 of dU [experts, width]; summed in fp32 (fp64), in
  /// the order of the tokens. With `accumulate`, added to what dU holds.
  /// Results do not depend on how columns are shared out in multiples of
  /// `kExpertGradientCut`.
  void (*expert_gradient)(const E* coefficients,
                          const E* grad_mixed,
                          E* grad_expert,
                          std::int64_t rows,
                          std::int64_t experts,
                          std::int64_t width,
                          std::int64_t first,
                          std::int64_t last,
                          bool accumulate);
};

using MixingRow = Row<MixingKernels, float, double, Bf16>;
using MixingTable = Table<MixingKernels, float, double, Bf16>;
MUMOE_DECLARE_ROWS(MixingRow, mixing_row)
extern const MixingTable mixing_kernels;

}  // namespace mumoe::kernels
