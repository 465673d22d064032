// Compiled once per instruction set, without contraction to fused
// multiply-adds; see train/kernels/adamw.h for the equations.
#include "mumoe/kernels/lanes.h"
#include "train/kernels/adamw_isa.h"

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
void adamw_update(const AdamWConstants<T>& constants,
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

/// Every value goes to the lane of its index modulo 32, whatever the
/// instruction set.
template <class T>
double sum_of_squares(const T* values, std::int64_t n) {
  using L = kernels::MUMOE_ISA::Lanes<double>;
  constexpr int kSums = 4;  // independent chains of additions
  constexpr std::int64_t kStep = kSums * L::kSize;
  L sums[kSums] = {L::all(0), L::all(0), L::all(0), L::all(0)};
  const auto add = [&](const T* from) {
#pragma GCC unroll 4
    for (int k = 0; k < kSums; ++k) {
      const L x = L::load_converted(from + k * L::kSize);
      sums[k] = sums[k] + x * x;
    }
  };
  std::int64_t i = 0;
  for (; i + kStep <= n; i += kStep) add(values + i);
  if (i < n) {
    T rest[kStep] = {};
    for (std::int64_t k = 0; k < n - i; ++k) rest[k] = values[i + k];
    add(rest);
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
}

#define MUMOE_INSTANTIATE(T)                              \
  template void adamw_update<T>(const AdamWConstants<T>&, \
                                T*,                       \
                                const T*,                 \
                                T*,                       \
                                T*,                       \
                                Bf16*,                    \
                                std::int64_t);            \
  template double sum_of_squares<T>(const T*, std::int64_t);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)

}  // namespace mumoe::train::MUMOE_ISA
