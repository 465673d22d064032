#pragma once

#include <cstdint>

#include "mumoe/kernels/table.h"

// The passes of the optimizer over flat arrays. On the CPU their values are the
// same to the bit on every instruction set and however an array is split among
// threads, so that a run resumed on another machine goes on as it would have
// here. `T` is float or double.

namespace mumoe::train {

using kernels::Bf16;

/// The scalars of one AdamW update. The caller computes them in double.
struct AdamWScalars {
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double eps = 0;
  double weight_decay = 0;
  /// 1 − β₁ᵗ and 1 − β₂ᵗ, t = 1 at the first update.
  double bias_correction1 = 1;
  double bias_correction2 = 1;
  /// Multiplies the gradient (clipping).
  double grad_scale = 1;
};

/// The same as the kernels use them: of type `T`, and with one division an
/// element, since √(v / c₂) + ε = (√v + ε√c₂) / √c₂.
template <class T>
struct AdamWConstants {
  T keep;          // 1 − lr · weight_decay
  T rise1;         // 1 − β₁
  T beta2, rise2;  // β₂, 1 − β₂
  T eps;           // ε √c₂
  T step;          // lr √c₂ / c₁
  T grad_scale;
};
template <class T>
AdamWConstants<T> adamw_constants(const AdamWScalars& scalars);

template <class T>
struct AdamWKernels {
  /// One AdamW update (Loshchilov and Hutter, arXiv 1711.05101; semantics of
  /// torch.optim.AdamW), element by element:
  ///
  ///     g ← grad_scale · g
  ///     p ← p − lr · weight_decay · p
  ///     m ← m + (1 − β₁)(g − m)
  ///     v ← β₂ v + (1 − β₂) g²
  ///     p ← p − (lr / c₁) · m / (√v / √c₂ + ε)
  ///
  /// `master`, `first`, `second`: [n], updated. `grad`: [n], read.
  /// `compute`: [n] or null, receives `master` rounded to bf16 (nearest, ties
  /// to even). An element with p = g = m = v = 0 stays 0.
  void (*update)(void* stream,
                 const AdamWConstants<T>& constants,
                 T* master,
                 const T* grad,
                 T* first,
                 T* second,
                 Bf16* compute,
                 std::int64_t n);
};

using AdamWRow = kernels::Row<AdamWKernels, float, double>;
using AdamWTable = kernels::Table<AdamWKernels, float, double>;
MUMOE_DECLARE_ROWS(AdamWRow, adamw_row)
extern const AdamWTable adamw_kernels;

}  // namespace mumoe::train
