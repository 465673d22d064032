#include "mumoe/kernels/combine.h"

#include <vector>

#include "mumoe/kernels/combine_isa.h"

namespace mumoe::kernels {

template <class E>
void combine_forward(Isa isa,
                     const CombineShape& shape,
                     const CombineForward<E>& matrices,
                     std::int64_t first,
                     std::int64_t last) {
  std::vector<double> scratch(combine_scratch(shape));
  const auto run = isa == Isa::avx512_bf16 ? avx512_bf16::combine_forward<E>
                   : isa == Isa::avx512    ? avx512::combine_forward<E>
                   : isa == Isa::avx2      ? avx2::combine_forward<E>
                                           : portable::combine_forward<E>;
  run(shape, matrices, first, last, scratch.data());
}

template <class E>
void combine_backward(Isa isa,
                      const CombineShape& shape,
                      const CombineBackward<E>& matrices,
                      std::int64_t first,
                      std::int64_t last) {
  std::vector<double> scratch(combine_scratch(shape));
  const auto run = isa == Isa::avx512_bf16 ? avx512_bf16::combine_backward<E>
                   : isa == Isa::avx512    ? avx512::combine_backward<E>
                   : isa == Isa::avx2      ? avx2::combine_backward<E>
                                           : portable::combine_backward<E>;
  run(shape, matrices, first, last, scratch.data());
}

template <class E>
void expert_gradient(Isa isa,
                     const E* coefficients,
                     const E* grad_mixed,
                     E* grad_expert,
                     std::int64_t rows,
                     std::int64_t experts,
                     std::int64_t width,
                     std::int64_t first,
                     std::int64_t last,
                     bool accumulate) {
  // The sums, and the active experts of a token.
  std::vector<double> scratch(experts * (last - first + 2) + 32);
  const auto run = isa == Isa::avx512_bf16 ? avx512_bf16::expert_gradient<E>
                   : isa == Isa::avx512    ? avx512::expert_gradient<E>
                   : isa == Isa::avx2      ? avx2::expert_gradient<E>
                                           : portable::expert_gradient<E>;
  run(coefficients,
      grad_mixed,
      grad_expert,
      rows,
      experts,
      width,
      first,
      last,
      accumulate,
      scratch.data());
}

template <class E>
std::int64_t count_nonzero(Isa isa, const E* values, std::int64_t count) {
  const auto run = isa == Isa::avx512_bf16 ? avx512_bf16::count_nonzero<E>
                   : isa == Isa::avx512    ? avx512::count_nonzero<E>
                   : isa == Isa::avx2      ? avx2::count_nonzero<E>
                                           : portable::count_nonzero<E>;
  return run(values, count);
}

#define MUMOE_INSTANTIATE(E)                                   \
  template void combine_forward<E>(Isa,                        \
                                   const CombineShape&,        \
                                   const CombineForward<E>&,   \
                                   std::int64_t,               \
                                   std::int64_t);              \
  template void combine_backward<E>(Isa,                       \
                                    const CombineShape&,       \
                                    const CombineBackward<E>&, \
                                    std::int64_t,              \
                                    std::int64_t);             \
  template void expert_gradient<E>(Isa,                        \
                                   const E*,                   \
                                   const E*,                   \
                                   E*,                         \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   bool);                      \
  template std::int64_t count_nonzero<E>(Isa, const E*, std::int64_t);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels
