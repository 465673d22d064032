#pragma once

#include <cstdint>

#include "mumoe/kernels/table.h"

// The softmax and the loss of a chunk of tokens, in the memory of its logits.
// On GPUs alone: a CPU takes LibTorch's operations. `E` is float, double or
// Bf16 (computed in fp32); log-sum-exps are given in fp64.

namespace mumoe::model {

using kernels::Bf16;

/// Logits and targets of some tokens, of the rows of the vocabulary that this
/// rank has.
template <class E>
struct LogitRows {
  E* logits = nullptr;  ///< [rows, columns], each row `stride` after the last.
  const std::int64_t* targets = nullptr;  ///< [rows], of the whole vocabulary.
  std::int64_t rows = 0;
  std::int64_t columns = 0;  ///< At least 1, below 2³⁰.
  std::int64_t stride = 0;
  std::int64_t first = 0;  ///< Which target column 0 is.
};

/// A row that holds NaN or +∞, or nothing but −∞, gives NaN in its loss and
/// gradient; −∞ beside finite logits is a probability of 0. Sums are added in
/// the same order at every run. 16-byte accesses where addresses allow.
template <class E>
struct CrossEntropyKernels {
  /// statistics[r] = {log Σ_j exp ℓ[r, j], ℓ[r, target]}; the second is 0 where
  /// the target is none of these columns.
  void (*statistics)(void* stream, const LogitRows<E>& x, double* statistics);

  /// ℓ ← scale · (exp(ℓ − lse) − onehot(target)), in place; `lse` [rows]: of
  /// the whole vocabulary.
  void (*gradient)(void* stream,
                   const LogitRows<E>& x,
                   const double* lse,
                   double scale);

  /// Both, where these columns are the whole vocabulary: rows are read from
  /// memory once.
  void (*statistics_and_gradient)(void* stream,
                                  const LogitRows<E>& x,
                                  double* statistics,
                                  double scale);
};

using CrossEntropyRow = kernels::Row<CrossEntropyKernels, float, double, Bf16>;
using CrossEntropyTable =
    kernels::Table<CrossEntropyKernels, float, double, Bf16>;
MUMOE_DECLARE_ROWS(CrossEntropyRow, cross_entropy_row)
extern const CrossEntropyTable cross_entropy_kernels;

}  // namespace mumoe::model
