// Compiled once per instruction set, without contraction to fused
// multiply-adds; see train/kernels/adamw.h for the equations.
#include "mumoe/kernels/lanes.h"
#include "train/kernels/adamw.h"

namespace mumoe::train::MUMOE_ISA {

using kernels::to_bf16;

/// Elements between two visits of the compute copy, while they are in cache.
constexpr std::int64_t kChunk = 2048;

inline float root(float x) {
  return __builtin_sqrtf(x);
}
inline double root(double x) {
  return __builtin_sqrt(x);
}

template <class T>
void update_chunk(const AdamWConstants<T>& c,
                  T* __restrict__ master,
                  const T* __restrict__ grad,
                  T* __restrict__ first,
                  T* __restrict__ second,
                  std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = c.grad_scale * grad[i];
    const T m = first[i] + c.rise1 * (g - first[i]);
    const T v = c.beta2 * second[i] + c.rise2 * (g * g);
    first[i] = m;
    second[i] = v;
    master[i] = c.keep * master[i] - c.step * (m / (root(v) + c.eps));
  }
}

template <class T>
void adamw_update(void*,
                  const AdamWConstants<T>& constants,
                  T* master,
                  const T* grad,
                  T* first,
                  T* second,
                  Bf16* compute,
                  std::int64_t n) {
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t size = n - begin < kChunk ? n - begin : kChunk;
    update_chunk(constants,
                 master + begin,
                 grad + begin,
                 first + begin,
                 second + begin,
                 size);
    if (compute == nullptr) continue;
    for (std::int64_t i = begin; i < begin + size; ++i) {
      compute[i] = to_bf16(static_cast<float>(master[i]));
    }
  }
}

const AdamWRow adamw_row = {{adamw_update<float>}, {adamw_update<double>}};

}  // namespace mumoe::train::MUMOE_ISA
