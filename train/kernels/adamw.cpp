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
  const auto run = isa >= Isa::avx512 ? avx512::adamw_update<T>
                   : isa == Isa::avx2 ? avx2::adamw_update<T>
                                      : portable::adamw_update<T>;
  run(adamw_constants<T>(scalars), master, grad, first, second, compute, n);
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
                                std::int64_t);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)

}  // namespace mumoe::train
