#pragma once

#include <cstdint>

#include "base/cpu.h"

// GELU(x) = x Φ(x), the exact one with erf, on the CPU; free of LibTorch. `E`
// is float, double or Bf16 (computed in fp32).
//
// Not finite: GELU(∞) = ∞; GELU(−∞) and both derivatives at ±∞ are NaN (∞ · 0),
// as NaN is.

namespace mumoe::kernels {

/// y = GELU(x), `count` values.
template <class E>
void gelu_forward(Isa isa, const E* x, E* y, std::int64_t count);

/// dx = dy (Φ(x) + x φ(x)) and y = GELU(x) in one pass. `grad_x` may be
/// `grad_y`; `y` may be null.
template <class E>
void gelu_backward(Isa isa,
                   const E* x,
                   const E* grad_y,
                   E* grad_x,
                   E* y,
                   std::int64_t count);

}  // namespace mumoe::kernels
