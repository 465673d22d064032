// See train/kernels/adamw.h for the equations. Bound by memory: each element is
// read and written once.
#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_launch.h"
#include "train/kernels/adamw_cuda.h"

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

/// Σ over one block of kSumBlock elements.
template <class T>
__global__ void block_squares_kernel(const T* __restrict__ values,
                                     double* __restrict__ sums,
                                     std::int64_t n) {
  const std::int64_t begin = std::int64_t{blockIdx.x} * kSumBlock;
  const std::int64_t end = begin + kSumBlock < n ? begin + kSumBlock : n;
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double x = values[i];
    sum += x * x;
  }
  sum = Group::reduce(sum, Add{});
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// One block adds up the sums of all.
__global__ void total_kernel(const double* __restrict__ sums,
                             double* __restrict__ total,
                             std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = Group::reduce(sum, Add{});
  if (threadIdx.x == 0) *total = sum;
}

}  // namespace

template <class T>
void adamw_update_cuda(const AdamWScalars& scalars,
                       T* master,
                       const T* grad,
                       T* first,
                       T* second,
                       Bf16* compute,
                       std::int64_t n,
                       void* stream) {
  launch("adamw",
         adamw_kernel<T>,
         (n + kThreads - 1) / kThreads,
         kThreads,
         stream,
         adamw_constants<T>(scalars),
         master,
         grad,
         first,
         second,
         compute,
         n);
}

template <class T>
void sum_of_squares_cuda(const T* values,
                         std::int64_t n,
                         double* block_sums,
                         double* sum,
                         void* stream) {
  const std::int64_t blocks = sum_block_count(n);
  launch("sum of squares",
         block_squares_kernel<T>,
         blocks,
         kThreads,
         stream,
         values,
         block_sums,
         n);
  launch("sum of squares",
         total_kernel,
         1,
         kThreads,
         stream,
         block_sums,
         sum,
         blocks);
}

#define MUMOE_INSTANTIATE(T)                              \
  template void adamw_update_cuda<T>(const AdamWScalars&, \
                                     T*,                  \
                                     const T*,            \
                                     T*,                  \
                                     T*,                  \
                                     Bf16*,               \
                                     std::int64_t,        \
                                     void*);              \
  template void sum_of_squares_cuda<T>(const T*,          \
                                       std::int64_t,      \
                                       double*,           \
                                       double*,           \
                                       void*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)

}  // namespace mumoe::train
