// See train/kernels/adamw.h for the equations. Bound by memory: each element is
// read and written once.
#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_launch.h"
#include "train/kernels/adamw.h"

namespace mumoe::train {
namespace {

using kernels::Add;
using kernels::BlockGroup;
using kernels::launch;
using kernels::to_bf16;

constexpr int kThreads = 256;
using Group = BlockGroup<kThreads>;

__device__ __forceinline__ float root(float x) {
  return sqrtf(x);
}
__device__ __forceinline__ double root(double x) {
  return sqrt(x);
}

template <class T>
__global__ void adamw_kernel(AdamWConstants<T> c,
                             T* __restrict__ master,
                             const T* __restrict__ grad,
                             T* __restrict__ first,
                             T* __restrict__ second,
                             Bf16* __restrict__ compute,
                             std::int64_t n) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const T g = c.grad_scale * grad[i];
  const T m = first[i] + c.rise1 * (g - first[i]);
  const T v = c.beta2 * second[i] + c.rise2 * (g * g);
  const T p = c.keep * master[i] - c.step * (m / (root(v) + c.eps));
  first[i] = m;
  second[i] = v;
  master[i] = p;
  if (compute != nullptr) compute[i] = to_bf16(static_cast<float>(p));
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
  launch("adamw",
         adamw_kernel<T>,
         (n + kThreads - 1) / kThreads,
         kThreads,
         stream,
         constants,
         master,
         grad,
         first,
         second,
         compute,
         n);
}

}  // namespace

namespace cuda {
const AdamWRow adamw_row = {{update<float>}, {update<double>}};
}  // namespace cuda

}  // namespace mumoe::train
