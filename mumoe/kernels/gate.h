#pragma once

#include <cstdint>

#include "mumoe/kernels/table.h"

// The gate of a μMoE layer, row by row.
//
// Shapes: T rows (tokens), N experts; all matrices are row-major and dense.
// `E` is the type in memory: float, double or Bf16 (computed in fp32).

namespace mumoe::kernels {

/// How a row of logits is normalised: mean 0, variance 1, eps 1e-5; or not.
enum class RowNorm { layer, none };

template <class E>
struct GateKernels {
  /// a = entmax₁.₅(norm(ℓ)), for each of `rows` rows.
  ///
  ///     x_n = (ẑ_n − max ẑ) / 2,   ẑ = norm(ℓ)
  ///     a_n = [x_n − τ]₊²,         τ the root of Σ_n [x_n − τ]₊² = 1
  ///
  /// (Peters, Niculae, Martins, "Sparse sequence-to-sequence models", ACL
  /// 2019.) The root is found without sorting, by Newton steps from the left
  /// and then the closed form on the support; a row costs a bounded number of
  /// passes. Coefficients outside the support are exact zeros. A row of equal
  /// logits gives 1/N.
  ///
  /// Not finite: −∞ without a norm is a coefficient of 0 (a mask) as long as
  /// the row has a finite logit; every other row that holds NaN or ±∞ becomes
  /// NaN as a whole. So do rows whose variance overflows.
  ///
  /// `logits`, `coefficients`: [rows, experts], not overlapping. Rows are
  /// independent, and their values are the same on every instruction set; CUDA
  /// adds sums in another order.
  void (*forward)(void* stream,
                  const E* logits,
                  E* coefficients,
                  std::int64_t rows,
                  std::int64_t experts,
                  RowNorm norm);

  /// The gradient of `forward` with respect to the logits.
  ///
  ///     s = √a,   d = s∘g − s · (Σ s∘g / Σ s)          (entmax)
  ///     dℓ = (d − x̂ · mean(d∘x̂)) / √(var + 1e-5)       (layer norm; mean(d) =
  ///     0)
  ///
  /// `grad_coefficients` [rows, experts] is not read where the coefficient is 0
  /// (it may hold anything there, NaN included). The norm's statistics are
  /// recomputed from `logits`: cheaper than to keep them.
  void (*backward)(void* stream,
                   const E* logits,
                   const E* coefficients,
                   const E* grad_coefficients,
                   E* grad_logits,
                   std::int64_t rows,
                   std::int64_t experts,
                   RowNorm norm);
};

using GateRow = Row<GateKernels, float, double, Bf16>;
using GateTable = Table<GateKernels, float, double, Bf16>;
MUMOE_DECLARE_ROWS(GateRow, gate_row)
extern const GateTable gate_kernels;

}  // namespace mumoe::kernels
