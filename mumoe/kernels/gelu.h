#pragma once

#include <cstdint>

#include "mumoe/kernels/table.h"

// GELU(x) = x Φ(x), the exact one with erf. `E` is float, double or Bf16
// (computed in fp32). Any count and alignment.
//
// Not finite: GELU(∞) = ∞; GELU(−∞) and both derivatives at ±∞ are NaN (∞ · 0),
// as NaN is.

namespace mumoe::kernels {

template <class E>
struct GeluKernels {
  /// y = GELU(x), `count` values.
  void (*forward)(void* stream, const E* x, E* y, std::int64_t count);

  /// dx = dy (Φ(x) + x φ(x)) and y = GELU(x) in one pass. `grad_x` may be
  /// `grad_y`; `y` may be null.
  void (*backward)(void* stream,
                   const E* x,
                   const E* grad_y,
                   E* grad_x,
                   E* y,
                   std::int64_t count);
};

using GeluRow = Row<GeluKernels, float, double, Bf16>;
using GeluTable = Table<GeluKernels, float, double, Bf16>;
MUMOE_DECLARE_ROWS(GeluRow, gelu_row)
extern const GeluTable gelu_kernels;

}  // namespace mumoe::kernels
