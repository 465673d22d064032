// GELU on a GPU: one access of every array for each thread.
#include <cmath>

#include "mumoe/kernels/cuda_launch.h"
#include "mumoe/kernels/cuda_pack.h"
#include "mumoe/kernels/gelu.h"

namespace mumoe::kernels {
namespace {

constexpr int kGeluThreads = 256;

__device__ __forceinline__ float error_function(float x) {
  return erff(x);
}
__device__ __forceinline__ double error_function(double x) {
  return erf(x);
}
__device__ __forceinline__ float exponential(float x) {
  return expf(x);
}
__device__ __forceinline__ double exponential(double x) {
  return exp(x);
}

/// Φ(x)
template <class T>
__device__ __forceinline__ T normal_cdf(T x) {
  constexpr T kRootHalf = static_cast<T>(0.70710678118654752440);
  return T(0.5) * (1 + error_function(x * kRootHalf));
}

/// φ(x)
template <class T>
__device__ __forceinline__ T normal_density(T x) {
  constexpr T kRootInverse2Pi = static_cast<T>(0.39894228040143267794);
  return kRootInverse2Pi * exponential(T(-0.5) * x * x);
}

/// The pack of this thread: values `first` to `first` + kPack − 1, of which
/// those in 0 … count − 1 exist. Packs are aligned although the arrays begin
/// `shift` values after a boundary.
template <int kPack>
struct PackOfThread {
  std::int64_t first;
  std::int64_t count;

  __device__ PackOfThread(std::int64_t count, int shift)
      : first((std::int64_t{blockIdx.x} * kGeluThreads + threadIdx.x) * kPack -
              shift),
        count(count) {}

  __device__ bool whole() const { return first >= 0 && first + kPack <= count; }
  __device__ bool exists(int k) const {
    return first + k >= 0 && first + k < count;
  }

  template <class E>
  __device__ void load(const E* from, Compute<E> (&to)[kPack]) const {
    if (whole()) return load_pack(from + first, to);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      to[k] = exists(k) ? load_value(from[first + k]) : Compute<E>(0);
    }
  }
  template <class E>
  __device__ void store(E* to, const Compute<E> (&from)[kPack]) const {
    if (whole()) return store_pack(to + first, from);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      if (exists(k)) store_value(to[first + k], from[k]);
    }
  }
};

template <class E, int kPack>
__global__ void gelu_forward_kernel(const E* x,
                                    E* y,
                                    std::int64_t count,
                                    int shift) {
  const PackOfThread<kPack> pack(count, shift);
  Compute<E> value[kPack];
  pack.load(x, value);
#pragma unroll
  for (int k = 0; k < kPack; ++k) value[k] *= normal_cdf(value[k]);
  pack.store(y, value);
}

template <class E, int kPack>
__global__ void gelu_backward_kernel(const E* x,
                                     const E* grad_y,
                                     E* grad_x,
                                     E* y,
                                     std::int64_t count,
                                     int shift) {
  using T = Compute<E>;
  const PackOfThread<kPack> pack(count, shift);
  T value[kPack], grad[kPack];
  pack.load(x, value);
  pack.load(grad_y, grad);
#pragma unroll
  for (int k = 0; k < kPack; ++k) {
    const T v = value[k];
    const T cdf = normal_cdf(v);
    grad[k] *= cdf + v * normal_density(v);
    value[k] = v * cdf;
  }
  pack.store(grad_x, grad);
  if (y != nullptr) pack.store(y, value);
}

/// Calls `f(pack, shift, blocks)` for arrays at these addresses.
template <class E, class F>
void with_packs(const E* x,
                std::initializer_list<const E*> others,
                std::int64_t count,
                F f) {
  constexpr int kFit = 16 / sizeof(E);
  const auto past_boundary = [](const E* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16;
  };
  bool alike = true;
  for (const E* other : others) {
    alike &= other == nullptr || past_boundary(other) == past_boundary(x);
  }
  const auto blocks = [](std::int64_t values, int pack) {
    const std::int64_t of_block = std::int64_t{kGeluThreads} * pack;
    return (values + of_block - 1) / of_block;
  };
  if (count == 0) return;
  if (alike) {
    const int shift = static_cast<int>(past_boundary(x) / sizeof(E));
    f(std::integral_constant<int, kFit>{}, shift, blocks(count + shift, kFit));
  } else {
    f(std::integral_constant<int, 1>{}, 0, blocks(count, 1));
  }
}

template <class E>
void forward(void* stream, const E* x, E* y, std::int64_t count) {
  with_packs<E>(x, {y}, count, [&](auto pack, int shift, std::int64_t blocks) {
    launch("gelu forward",
           gelu_forward_kernel<E, decltype(pack)::value>,
           blocks,
           kGeluThreads,
           stream,
           x,
           y,
           count,
           shift);
  });
}

template <class E>
void backward(void* stream,
              const E* x,
              const E* grad_y,
              E* grad_x,
              E* y,
              std::int64_t count) {
  with_packs<E>(x,
                {grad_y, grad_x, y},
                count,
                [&](auto pack, int shift, std::int64_t blocks) {
                  launch("gelu backward",
                         gelu_backward_kernel<E, decltype(pack)::value>,
                         blocks,
                         kGeluThreads,
                         stream,
                         x,
                         grad_y,
                         grad_x,
                         y,
                         count,
                         shift);
                });
}

}  // namespace

namespace cuda {
const GeluRow gelu_row = {{forward<float>, backward<float>},
                          {forward<double>, backward<double>},
                          {forward<Bf16>, backward<Bf16>}};
}  // namespace cuda

}  // namespace mumoe::kernels
