#include "mumoe/kernels/gate.h"

#include <vector>

#include "mumoe/kernels/gate_isa.h"

namespace mumoe::kernels {

template <class E>
void gate_forward(Isa isa,
                  const E* logits,
                  E* coefficients,
                  std::int64_t rows,
                  std::int64_t experts,
                  GateNorm norm) {
  std::vector<Compute<E>> scratch(gate_scratch_size(experts));
  const auto run = isa >= Isa::avx512 ? avx512::gate_forward<E>
                   : isa == Isa::avx2 ? avx2::gate_forward<E>
                                      : portable::gate_forward<E>;
  run(logits, coefficients, rows, experts, norm, scratch.data());
}

template <class E>
void gate_backward(Isa isa,
                   const E* logits,
                   const E* coefficients,
                   const E* grad_coefficients,
                   E* grad_logits,
                   std::int64_t rows,
                   std::int64_t experts,
                   GateNorm norm) {
  std::vector<Compute<E>> scratch(gate_scratch_size(experts));
  const auto run = isa >= Isa::avx512 ? avx512::gate_backward<E>
                   : isa == Isa::avx2 ? avx2::gate_backward<E>
                                      : portable::gate_backward<E>;
  run(logits,
      coefficients,
      grad_coefficients,
      grad_logits,
      rows,
      experts,
      norm,
      scratch.data());
}

#define MUMOE_INSTANTIATE(E)                   \
  template void gate_forward<E>(Isa,           \
                                const E*,      \
                                E*,            \
                                std::int64_t,  \
                                std::int64_t,  \
                                GateNorm);     \
  template void gate_backward<E>(Isa,          \
                                 const E*,     \
                                 const E*,     \
                                 const E*,     \
                                 E*,           \
                                 std::int64_t, \
                                 std::int64_t, \
                                 GateNorm);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels
