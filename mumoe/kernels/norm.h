#pragma once

#include <cstdint>

#include "mumoe/kernels/table.h"

// Layer norm of the sum of two matrices, rounded as the products after it take
// it. On GPUs alone: a CPU takes LibTorch's operations. `E` is the type of what
// is multiplied: float, double or Bf16; the residual stream, the norm's weights
// and statistics are in the type that computes it (fp32 for Bf16).
//
//   s = x + y,   z = (s − mean) / √(var + 1e-5) ∘ w + b
//
// Matrices are [rows, width], row-major and dense; var is the biased variance,
// in two passes. A row with NaN or ±∞ gives a row of NaN. Sums are added in the
// same order at every run. 16-byte accesses where addresses and widths allow.

namespace mumoe::kernels {

template <class E>
struct NormForward {
  using T = Compute<E>;
  const T* x = nullptr;
  const E* addend = nullptr;  ///< y, or null.
  const T* weight = nullptr;  ///< [width]
  const T* bias = nullptr;    ///< [width], or null.
  std::int64_t rows = 0;
  std::int64_t width = 0;

  T* sum = nullptr;      ///< s, or null: not wanted.
  E* rounded = nullptr;  ///< s in `E`, or null: not wanted.
  E* result = nullptr;   ///< z
  T* mean = nullptr;     ///< [rows]
  T* rstd = nullptr;     ///< [rows]
};

template <class E>
struct NormBackward {
  using T = Compute<E>;
  const T* sum = nullptr;  ///< s
  const T* mean = nullptr;
  const T* rstd = nullptr;
  const T* weight = nullptr;
  const E* grad_result = nullptr;   ///< dz
  const T* grad_sum = nullptr;      ///< What else s has, or null.
  const E* grad_rounded = nullptr;  ///< And as rounded, or null.
  std::int64_t rows = 0;
  std::int64_t width = 0;

  T* grad_x = nullptr;       ///< ds, all of it.
  E* grad_addend = nullptr;  ///< The same in `E`, or null: not wanted.
  T* grad_weight = nullptr;  ///< [width], or null: not wanted.
  T* grad_bias = nullptr;    ///< [width], or null: not wanted.
  bool add_weight = false;   ///< Added to what is there; else stored.
  bool add_bias = false;
  /// `norm_partial_sums(rows, width)` values of room.
  T* partial = nullptr;
};

/// Rows that are summed before they are added to others.
constexpr std::int64_t kNormRows = 32;
constexpr std::int64_t norm_partial_sums(std::int64_t rows,
                                         std::int64_t width) {
  return (rows + kNormRows - 1) / kNormRows * 2 * width;
}
/// The widest rows that there are kernels for.
template <class E>
constexpr std::int64_t kNormWidth = sizeof(Compute<E>) == 8 ? 2048 : 4096;

template <class E>
struct NormKernels {
  void (*forward)(void* stream, const NormForward<E>& norm);
  void (*backward)(void* stream, const NormBackward<E>& norm);
};

using NormRow = Row<NormKernels, float, double, Bf16>;
using NormTable = Table<NormKernels, float, double, Bf16>;
MUMOE_DECLARE_ROWS(NormRow, norm_row)
extern const NormTable norm_kernels;

}  // namespace mumoe::kernels
