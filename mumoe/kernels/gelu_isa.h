#pragma once

#include <cstdint>

#include "mumoe/kernels/bf16.h"

// What gelu_cpu.cpp defines once per instruction set, for gelu.cpp to choose
// from.

namespace mumoe::kernels {

#define MUMOE_DECLARE_GELU(isa)                            \
  namespace isa {                                          \
  template <class E>                                       \
  void gelu_forward(const E* x, E* y, std::int64_t count); \
  template <class E>                                       \
  void gelu_backward(const E* x,                           \
                     const E* grad_y,                      \
                     E* grad_x,                            \
                     E* y,                                 \
                     std::int64_t count);                  \
  }

MUMOE_DECLARE_GELU(portable)
MUMOE_DECLARE_GELU(avx2)
MUMOE_DECLARE_GELU(avx512)
MUMOE_DECLARE_GELU(avx512_bf16)

#undef MUMOE_DECLARE_GELU

}  // namespace mumoe::kernels
