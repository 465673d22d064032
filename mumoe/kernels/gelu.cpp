#include "mumoe/kernels/gelu.h"

#include "mumoe/kernels/gelu_isa.h"

namespace mumoe::kernels {

template <class E>
void gelu_forward(Isa isa, const E* x, E* y, std::int64_t count) {
  const auto run = isa == Isa::avx512_bf16 ? avx512_bf16::gelu_forward<E>
                   : isa == Isa::avx512    ? avx512::gelu_forward<E>
                   : isa == Isa::avx2      ? avx2::gelu_forward<E>
                                           : portable::gelu_forward<E>;
  run(x, y, count);
}

template <class E>
void gelu_backward(Isa isa,
                   const E* x,
                   const E* grad_y,
                   E* grad_x,
                   E* y,
                   std::int64_t count) {
  const auto run = isa == Isa::avx512_bf16 ? avx512_bf16::gelu_backward<E>
                   : isa == Isa::avx512    ? avx512::gelu_backward<E>
                   : isa == Isa::avx2      ? avx2::gelu_backward<E>
                                           : portable::gelu_backward<E>;
  run(x, grad_y, grad_x, y, count);
}

#define MUMOE_INSTANTIATE(E)                                      \
  template void gelu_forward<E>(Isa, const E*, E*, std::int64_t); \
  template void gelu_backward<E>(Isa, const E*, const E*, E*, E*, std::int64_t);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels
