#pragma once

#include <cstdint>

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/gate_norm.h"

// What gate_cpu.cpp defines once per instruction set, for gate.cpp to choose
// from. `scratch` is `gate_scratch_size(experts)` values of the compute type.

namespace mumoe::kernels {

/// Rows that forward takes at a time.
constexpr int kGateGroup = 4;

/// A row of scratch memory: whole 64-byte blocks.
constexpr std::int64_t gate_padded(std::int64_t experts) {
  return (experts + 15) / 16 * 16;
}

/// `kGateGroup` rows; backward needs three.
constexpr std::int64_t gate_scratch_size(std::int64_t experts) {
  return kGateGroup * gate_padded(experts);
}

#define MUMOE_DECLARE_GATE(isa)                  \
  namespace isa {                                \
  template <class E>                             \
  void gate_forward(const E* logits,             \
                    E* coefficients,             \
                    std::int64_t rows,           \
                    std::int64_t experts,        \
                    GateNorm norm,               \
                    Compute<E>* scratch);        \
  template <class E>                             \
  void gate_backward(const E* logits,            \
                     const E* coefficients,      \
                     const E* grad_coefficients, \
                     E* grad_logits,             \
                     std::int64_t rows,          \
                     std::int64_t experts,       \
                     GateNorm norm,              \
                     Compute<E>* scratch);       \
  }

MUMOE_DECLARE_GATE(portable)
MUMOE_DECLARE_GATE(avx2)
MUMOE_DECLARE_GATE(avx512)

#undef MUMOE_DECLARE_GATE

}  // namespace mumoe::kernels
