#include "train/kernels/adamw.h"

#include <cmath>

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

template AdamWConstants<float> adamw_constants(const AdamWScalars&);
template AdamWConstants<double> adamw_constants(const AdamWScalars&);

namespace {
constexpr kernels::Nothing nothing;
constexpr AdamWRow kMeta = {{nothing}, {nothing}};
}  // namespace

const AdamWTable adamw_kernels = {{&portable::adamw_row,
                                   &avx2::adamw_row,
                                   &avx512::adamw_row,
                                   &avx512::adamw_row},
                                  MUMOE_CUDA_ROW(adamw_row),
                                  &kMeta};

}  // namespace mumoe::train
