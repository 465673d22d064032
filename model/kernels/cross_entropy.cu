// See model/kernels/cross_entropy.h for the equations. A block a row, which is
// read in packs; where gradients follow statistics, the second reading finds
// the row in the second-level cache.
#include "model/kernels/cross_entropy.h"

#include <cfloat>
#include <cmath>

#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_launch.h"
#include "mumoe/kernels/cuda_pack.h"

namespace mumoe::model {
namespace {

using kernels::Add;
using kernels::alignment_of;
using kernels::Compute;
using kernels::launch;
using kernels::load_pack;
using kernels::load_value;
using kernels::Maximum;
using kernels::store_pack;
using kernels::store_value;

constexpr int kThreads = 512;
using Group = kernels::BlockGroup<kThreads>;

__device__ __forceinline__ float exponential(float x) {
  return expf(x);
}
__device__ __forceinline__ double exponential(double x) {
  return exp(x);
}
/// Below every finite logit, or equal to it: −∞ takes nothing of it away.
__device__ __forceinline__ float lowest(float) {
  return -FLT_MAX;
}
__device__ __forceinline__ double lowest(double) {
  return -DBL_MAX;
}

/// A row in the packs of this thread, then the columns that are left over.
template <int kPack, class E>
struct PackedRow {
  using T = Compute<E>;
  E* values;
  int columns;

  /// f(column, values): `kPack` of them, or one of those left over.
  template <class F>
  __device__ void each(F f) const {
    int column = threadIdx.x * kPack;
    for (; column + kPack <= columns; column += kThreads * kPack) {
      T pack[kPack];
      load_pack(values + column, pack);
      f(column, pack);
    }
    column = columns / kPack * kPack + threadIdx.x;
    if (column < columns) {
      T one[1] = {load_value(values[column])};
      f(column, one);
    }
  }
};

/// Σ exp(x − largest) of what was seen, and the largest of it.
template <class T>
struct ExpSum {
  T largest;
  T sum;

  template <int kPack>
  __device__ void add(const T (&x)[kPack]) {
    T top = x[0];
#pragma unroll
    for (int k = 1; k < kPack; ++k) top = x[k] > top ? x[k] : top;
    if (top > largest) {
      sum *= exponential(largest - top);
      largest = top;
    }
#pragma unroll
    for (int k = 0; k < kPack; ++k) sum += exponential(x[k] - largest);
  }
  /// log Σ exp over the block.
  __device__ double log_sum() const {
    const T top = Group::reduce(largest, Maximum{});
    const T all = Group::reduce(sum * exponential(largest - top), Add{});
    return static_cast<double>(top) + log(static_cast<double>(all));
  }
};

/// Where the row's target is among its columns; −1: not here.
template <class E>
__device__ int place_of_target(const LogitRows<E>& x, std::int64_t row) {
  const std::int64_t place = x.targets[row] - x.first;
  return place >= 0 && place < x.columns ? static_cast<int>(place) : -1;
}

template <class Row>
__device__ double log_sum_exp(const Row& row) {
  using T = typename Row::T;
  ExpSum<T> sum = {lowest(T(0)), 0};
  row.each([&](int, const auto& x) { sum.add(x); });
  return sum.log_sum();
}

template <class Row>
__device__ void make_gradient(const Row& row,
                              double lse,
                              int target,
                              double scale) {
  using T = typename Row::T;
  // In two parts: of a rounded log-sum-exp every probability would have the
  // error.
  const T high = static_cast<T>(lse);
  const T low = static_cast<T>(lse - static_cast<double>(high));
  const T factor = static_cast<T>(scale);
  row.each([&](int column, auto& x) {
    constexpr int kCount = sizeof(x) / sizeof(x[0]);
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      x[k] = factor * exponential((x[k] - high) - low);
      if (column + k == target) x[k] -= factor;
    }
    store_pack(row.values + column, x);
  });
}

template <class E, int kPack>
__global__ void statistics_kernel(const LogitRows<E> x, double* statistics) {
  const std::int64_t r = blockIdx.x;
  const PackedRow<kPack, E> row = {x.logits + r * x.stride,
                                   static_cast<int>(x.columns)};
  const double lse = log_sum_exp(row);
  if (threadIdx.x != 0) return;
  const int target = place_of_target(x, r);
  statistics[2 * r] = lse;
  statistics[2 * r + 1] =
      target < 0 ? 0 : static_cast<double>(load_value(row.values[target]));
}

template <class E, int kPack>
__global__ void gradient_kernel(const LogitRows<E> x,
                                const double* lse,
                                double scale) {
  const std::int64_t r = blockIdx.x;
  const PackedRow<kPack, E> row = {x.logits + r * x.stride,
                                   static_cast<int>(x.columns)};
  make_gradient(row, lse[r], place_of_target(x, r), scale);
}

template <class E, int kPack>
__global__ void statistics_and_gradient_kernel(const LogitRows<E> x,
                                               double* statistics,
                                               double scale) {
  const std::int64_t r = blockIdx.x;
  const PackedRow<kPack, E> row = {x.logits + r * x.stride,
                                   static_cast<int>(x.columns)};
  const int target = place_of_target(x, r);
  if (threadIdx.x == 0) {
    statistics[2 * r + 1] =
        target < 0 ? 0 : static_cast<double>(load_value(row.values[target]));
  }
  // The block waits in here: nothing is written before the target was read.
  const double lse = log_sum_exp(row);
  if (threadIdx.x == 0) statistics[2 * r] = lse;
  make_gradient(row, lse, target, scale);
}

/// Calls `f` with the values of one access: 16 bytes, or one value.
template <class E, class F>
void with_packs(const LogitRows<E>& x, F f) {
  constexpr int kFit = 16 / sizeof(E);
  if (alignment_of({x.logits}, x.stride * sizeof(E)) % 16 == 0) {
    f(std::integral_constant<int, kFit>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

template <class E>
void statistics(void* stream, const LogitRows<E>& x, double* out) {
  with_packs(x, [&](auto pack) {
    launch("cross-entropy statistics",
           statistics_kernel<E, decltype(pack)::value>,
           x.rows,
           kThreads,
           stream,
           x,
           out);
  });
}

template <class E>
void gradient(void* stream,
              const LogitRows<E>& x,
              const double* lse,
              double scale) {
  with_packs(x, [&](auto pack) {
    launch("cross-entropy gradient",
           gradient_kernel<E, decltype(pack)::value>,
           x.rows,
           kThreads,
           stream,
           x,
           lse,
           scale);
  });
}

template <class E>
void statistics_and_gradient(void* stream,
                             const LogitRows<E>& x,
                             double* out,
                             double scale) {
  with_packs(x, [&](auto pack) {
    launch("cross-entropy",
           statistics_and_gradient_kernel<E, decltype(pack)::value>,
           x.rows,
           kThreads,
           stream,
           x,
           out,
           scale);
  });
}

template <class E>
constexpr CrossEntropyKernels<E> kKernels = {statistics<E>,
                                             gradient<E>,
                                             statistics_and_gradient<E>};

}  // namespace

namespace cuda {
const CrossEntropyRow cross_entropy_row = {kKernels<float>,
                                           kKernels<double>,
                                           kKernels<Bf16>};
}  // namespace cuda

}  // namespace mumoe::model
