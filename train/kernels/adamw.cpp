#include "train/kernels/adamw.h"

#include <algorithm>
#include <cmath>

#include "train/kernels/adamw_isa.h"

namespace mumoe::train {

template <class T>
AdamWConstants<T> adamw_constants(const AdamWScalars& s) {
  const double root2 = std::sqrt(s.bias_correction2);
  return {.keep = static_cast<T>(1 - s.lr * s.weight_decay),
          .rise1 = static_cast<T>(1 - s.beta1),
          .beta2 = static_cast<T>(s.beta2),
          .rise2 = static_cast<T>(1 - s.beta2),
          .eps = static_cast<T>(s.eps * root2),
          .step = static_cast<T>(s.lr * root2 / s.bias_correction1),
          .grad_scale = static_cast<T>(s.grad_scale)};
}

template <class T>
void adamw_update(Isa isa,
                  const AdamWScalars& scalars,
                  T* master,
                  const T* grad,
                  T* first,
                  T* second,
                  Bf16* compute,
                  std::int64_t n) {
  const auto run = isa == Isa::avx512 ? avx512::adamw_update<T>
                   : isa == Isa::avx2 ? avx2::adamw_update<T>
                                      : portable::adamw_update<T>;
  run(adamw_constants<T>(scalars), master, grad, first, second, compute, n);
}

template <class T>
void block_sums_of_squares(Isa isa,
                           const T* values,
                           std::int64_t n,
                           std::int64_t first_block,
                           std::int64_t last_block,
                           double* sums) {
  const auto run = isa == Isa::avx512 ? avx512::sum_of_squares<T>
                   : isa == Isa::avx2 ? avx2::sum_of_squares<T>
                                      : portable::sum_of_squares<T>;
  for (std::int64_t b = first_block; b < last_block; ++b) {
    const std::int64_t begin = b * kSumBlock;
    sums[b - first_block] = run(values + begin, std::min(kSumBlock, n - begin));
  }
}

template <class T>
double sum_of_squares(Isa isa, const T* values, std::int64_t n) {
  double total = 0;
  for (std::int64_t b = 0; b < sum_block_count(n); ++b) {
    double sum = 0;
    block_sums_of_squares(isa, values, n, b, b + 1, &sum);
    total += sum;
  }
  return total;
}

#define MUMOE_INSTANTIATE(T)                                          \
  template AdamWConstants<T> adamw_constants<T>(const AdamWScalars&); \
  template void adamw_update<T>(Isa,                                  \
                                const AdamWScalars&,                  \
                                T*,                                   \
                                const T*,                             \
                                T*,                                   \
                                T*,                                   \
                                Bf16*,                                \
                                std::int64_t);                        \
  template void block_sums_of_squares<T>(Isa,                         \
                                         const T*,                    \
                                         std::int64_t,                \
                                         std::int64_t,                \
                                         std::int64_t,                \
                                         double*);                    \
  template double sum_of_squares<T>(Isa, const T*, std::int64_t);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)

}  // namespace mumoe::train
