#pragma once

// Reductions over the threads that share a row; for .cu files.

namespace mumoe::kernels {

constexpr int kWarp = 32;

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// Drops NaN in `a`.
struct Maximum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Minimum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

/// The 32 threads of a warp. Every thread gets the same result, to the bit:
/// both sides of an exchange add the same two numbers.
struct WarpGroup {
  static constexpr int kThreads = kWarp;

  __device__ static int thread() { return threadIdx.x % kWarp; }

  template <class T, class F>
  __device__ static T reduce(T value, F f) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      value = f(value, __shfl_xor_sync(0xffffffffu, value, offset));
    }
    return value;
  }
};

/// All threads of a block of `kSize`. Every thread gets the same result.
template <int kSize>
struct BlockGroup {
  static constexpr int kThreads = kSize;

  __device__ static int thread() { return threadIdx.x; }

  template <class T, class F>
  __device__ static T reduce(T value, F f) {
    __shared__ T of_warp[kSize / kWarp];
    value = WarpGroup::reduce(value, f);
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
    __syncthreads();
    value = of_warp[0];
#pragma unroll
    for (int warp = 1; warp < kSize / kWarp; ++warp) {
      value = f(value, of_warp[warp]);
    }
    __syncthreads();  // before the next reduction writes
    return value;
  }
};

}  // namespace mumoe::kernels
