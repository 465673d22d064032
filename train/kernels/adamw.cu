// See train/kernels/adamw.h for the equations. Bound by memory: each element is
// read and written once, 16 bytes at a time where addresses allow.
#include "mumoe/kernels/cuda_launch.h"
#include "mumoe/kernels/cuda_pack.h"
#include "train/kernels/adamw.h"

namespace mumoe::train {
namespace {

using kernels::alignment_of;
using kernels::launch;
using kernels::load_pack;
using kernels::store_pack;

constexpr int kThreads = 256;

__device__ __forceinline__ float root(float x) {
  return sqrtf(x);
}
__device__ __forceinline__ double root(double x) {
  return sqrt(x);
}

/// Where the arrays of one update lie.
template <class T>
struct AdamWArrays {
  T* master;
  const T* grad;
  T* first;
  T* second;
  Bf16* compute;
};

template <class T, int kPack>
__device__ __forceinline__ void update_pack(const AdamWConstants<T>& c,
                                            const AdamWArrays<T>& x,
                                            std::int64_t at) {
  T p[kPack], g[kPack], m[kPack], v[kPack];
  load_pack(x.master + at, p);
  load_pack(x.grad + at, g);
  load_pack(x.first + at, m);
  load_pack(x.second + at, v);
#pragma unroll
  for (int k = 0; k < kPack; ++k) {
    const T scaled = c.grad_scale * g[k];
    m[k] = m[k] + c.rise1 * (scaled - m[k]);
    v[k] = c.beta2 * v[k] + c.rise2 * (scaled * scaled);
    p[k] = c.keep * p[k] - c.step * (m[k] / (root(v[k]) + c.eps));
  }
  store_pack(x.master + at, p);
  store_pack(x.first + at, m);
  store_pack(x.second + at, v);
  if (x.compute == nullptr) return;
  float rounded[kPack];
#pragma unroll
  for (int k = 0; k < kPack; ++k) rounded[k] = static_cast<float>(p[k]);
  store_pack(x.compute + at, rounded);
}

template <class T, int kPack>
__global__ void adamw_kernel(AdamWConstants<T> c,
                             AdamWArrays<T> x,
                             std::int64_t n) {
  const std::int64_t i =
      (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * kPack;
  if (i + kPack <= n) {
    update_pack<T, kPack>(c, x, i);
  } else {
    for (std::int64_t k = i; k < n; ++k) update_pack<T, 1>(c, x, k);
  }
}

template <class T>
void update(void* stream,
            const AdamWConstants<T>& constants,
            T* master,
            const T* grad,
            T* first,
            T* second,
            Bf16* compute,
            std::int64_t n) {
  constexpr int kFit = 16 / sizeof(T);
  const bool aligned = alignment_of({master, grad, first, second}) % 16 == 0 &&
                       alignment_of({compute}) % (kFit * sizeof(Bf16)) == 0;
  const auto run = [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    const std::int64_t packs = (n + kPack - 1) / kPack;
    launch("adamw",
           adamw_kernel<T, kPack>,
           (packs + kThreads - 1) / kThreads,
           kThreads,
           stream,
           constants,
           AdamWArrays<T>{master, grad, first, second, compute},
           n);
  };
  if (aligned) {
    run(std::integral_constant<int, kFit>{});
  } else {
    run(std::integral_constant<int, 1>{});
  }
}

}  // namespace

namespace cuda {
const AdamWRow adamw_row = {{update<float>}, {update<double>}};
}  // namespace cuda

}  // namespace mumoe::train
