#pragma once

#include "mumoe/kernels/combine_experts.h"

// The kernels of hadamard: a warp a token, its columns in packs; for
// combine.cu. Parameters that are indexed by level are __grid_constant__: else
// every thread would copy them to its stack.

namespace mumoe::kernels {

template <int kPack, class T>
__device__ __forceinline__ void multiply(T (&x)[kPack], const T (&y)[kPack]) {
#pragma unroll
  for (int k = 0; k < kPack; ++k) x[k] *= y[k];
}

/// The token of this warp.
__device__ __forceinline__ std::int64_t token_of_warp() {
  return std::int64_t{blockIdx.x} * kCombineWarps + threadIdx.x / kWarp;
}

template <class E, int kPack>
__global__ void hadamard_forward_kernel(
    const __grid_constant__ CombineShape shape,
    const __grid_constant__ CombineForward<E> x,
    std::int64_t rows,
    unsigned packed) {
  using T = Compute<E>;
  __shared__ ActiveExperts<E> of_block[kCombineWarps][kMaxLevels];
  ActiveExperts<E>* active = of_block[threadIdx.x / kWarp];
  const std::int64_t row = token_of_warp();
  if (row >= rows) return;
  for (int e = 0; e < shape.levels; ++e) active[e].forget();
  const int width = static_cast<int>(shape.columns);
  const E* projection = x.projection + row * width;
  for (int first = 0; first < width; first += kWarp * kPack) {
    const int column = first + WarpGroup::thread() * kPack;
    T q[kPack] = {}, product[kPack], m[kPack];
#pragma unroll
    for (int k = 0; k < kPack; ++k) product[k] = 1;
    if (column < width) load_biased(projection, x.bias, column, q);
    for (int e = 0; e < shape.levels; ++e) {
      const TokenLevel<E> level = level_of_token(shape, x, e, row, packed);
      mix(active[e], level, column, m);
      multiply(product, m);
    }
    multiply(product, q);
    if (column < width) store_pack(x.result + row * width + column, product);
  }
}

/// q ∏_{f ≠ e} m_f.
template <class T, int kPack, int kLevels>
__device__ __forceinline__ void all_but_one(const T (&q)[kPack],
                                            const T (&m)[kLevels][kPack],
                                            int e,
                                            T (&out)[kPack]) {
#pragma unroll
  for (int k = 0; k < kPack; ++k) {
    out[k] = q[k];
#pragma unroll
    for (int f = 0; f < kLevels; ++f) {
      if (f != e) out[k] *= m[f][k];
    }
  }
}

/// da of all levels of one token, once its rows of dm are there.
template <int kPack, class E>
__device__ __forceinline__ void gradients_of_levels(const CombineShape& shape,
                                                    const CombineBackward<E>& x,
                                                    std::int64_t row,
                                                    unsigned packed,
                                                    ActiveExperts<E>* active) {
  for (int e = 0; e < shape.levels; ++e) {
    E* da = x.grad_coefficients[e];
    if (da == nullptr) continue;
    const TokenLevel<E> level = level_of_token(shape, x, e, row, packed);
    coefficient_gradients<kPack>(active[e],
                                 level,
                                 x.grad_mixed[e] + row * shape.columns,
                                 da + row * level.experts,
                                 0,
                                 level.experts);
  }
}

/// `kLevels`: at least as many as the shape has.
template <class E, int kPack, int kLevels>
__global__ void hadamard_backward_kernel(
    const __grid_constant__ CombineShape shape,
    const __grid_constant__ CombineBackward<E> x,
    std::int64_t rows,
    unsigned packed) {
  using T = Compute<E>;
  __shared__ ActiveExperts<E> of_block[kCombineWarps][kLevels];
  ActiveExperts<E>* active = of_block[threadIdx.x / kWarp];
  const std::int64_t row = token_of_warp();
  if (row >= rows) return;
  for (int e = 0; e < shape.levels; ++e) active[e].forget();
  const int width = static_cast<int>(shape.columns);
  const std::int64_t begin = row * width;
  for (int first = 0; first < width; first += kWarp * kPack) {
    const int column = first + WarpGroup::thread() * kPack;
    const bool inside = column < width;
    T q[kPack] = {}, dc[kPack] = {}, m[kLevels][kPack];
    if (inside) {
      load_biased(x.projection + begin, x.bias, column, q);
      load_pack(x.grad_result + begin + column, dc);
    }
#pragma unroll
    for (int e = 0; e < kLevels; ++e) {
      if (e < shape.levels) {
        const TokenLevel<E> level = level_of_token(shape, x, e, row, packed);
        mix(active[e], level, column, m[e]);
      } else {
#pragma unroll
        for (int k = 0; k < kPack; ++k) m[e][k] = 1;
      }
    }
    if (!inside) continue;
    T product[kPack], out[kPack];
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      product[k] = m[0][k];
#pragma unroll
      for (int e = 1; e < kLevels; ++e) product[k] *= m[e][k];
      out[k] = product[k] * q[k];
    }
    store_pack(x.result + begin + column, out);
    multiply(product, dc);
    store_pack(x.grad_projection + begin + column, product);
    multiply(q, dc);
#pragma unroll
    for (int e = 0; e < kLevels; ++e) {
      if (e >= shape.levels) break;
      all_but_one(q, m, e, out);
      store_pack(x.grad_mixed[e] + begin + column, out);
    }
  }
  gradients_of_levels<kPack>(shape, x, row, packed, active);
}

}  // namespace mumoe::kernels
