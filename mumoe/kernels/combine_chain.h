#pragma once

#include "base/error.h"
#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/combine_experts.h"

// The small matrices of ring and kronecker for one token, in the shared memory
// of its block; for combine.cu. Both are one chain of products from the left,
//   P_1 = 1,  P_{e+1} = P_e M_e,  G = P_{E+1},
// row-major, where kronecker takes P_e as a column and m_e as a row, and the
// product, row-major, as the next column. Backwards from D_E = dG:
//   dM_e = P_eᵀ D_e,  D_{e−1} = D_e M_eᵀ.

namespace mumoe::kernels {

/// Sizes and places of these matrices: P_e [a, b], M_e [b, c].
struct Chain {
  int levels;
  int a[kMaxLevels], b[kMaxLevels], c[kMaxLevels];
  int mixed[kMaxLevels];    // where M_e begins
  int product[kMaxLevels];  // where P_{e+1} begins; P_2 is M_1
  std::int64_t projection;  // lengths of q and c: the shape's own functions
  std::int64_t result;      // are not for devices
};

/// Throws `InputError` for matrices above the limits of combine.h.
inline Chain make_chain(const CombineShape& shape) {
  Chain chain = {};
  chain.levels = shape.levels;
  chain.projection = shape.projection();
  chain.result = shape.result();
  std::int64_t size = 0, rows = shape.rows;
  const auto place = [&](std::int64_t values) {
    const std::int64_t at = size;
    size += values;
    require(values <= kCombineMaxMatrix && size <= kCombineMaxMatrices,
            "combine: on a GPU a level's mixed matrix and its product with "
            "those before it may have {} values, and all of them together {}",
            kCombineMaxMatrix,
            kCombineMaxMatrices);
    return static_cast<int>(at);
  };
  for (int e = 0; e < shape.levels; ++e) {
    const bool ring = shape.kind == Combination::ring;
    chain.mixed[e] = place(shape.mixed[e]);
    const std::int64_t c = ring ? shape.ranks[e + 1] : shape.mixed[e];
    chain.product[e] = e == 0 ? chain.mixed[0] : place(rows * c);
    chain.a[e] = static_cast<int>(rows);
    chain.b[e] = static_cast<int>(ring ? shape.ranks[e] : 1);
    chain.c[e] = static_cast<int>(c);
    if (!ring) rows *= c;
  }
  return chain;
}

/// f(i) for this thread's share of 0 … count − 1.
template <class F>
__device__ void each_in_block(int count, F f) {
  for (int i = threadIdx.x; i < count; i += kCombineThreads) f(i);
}

/// M_e of every level: stripes of 32 columns, warp by warp. The block must wait
/// before it reads them.
template <template <class> class Matrices, class E>
__device__ void mix_chain(ActiveExperts<E>& active,
                          const Chain& chain,
                          const CombineShape& shape,
                          const Matrices<E>& x,
                          std::int64_t row,
                          unsigned packed,
                          Compute<E>* matrices) {
  const int warp = threadIdx.x / kWarp;
  int stripe = 0;
  for (int e = 0; e < chain.levels; ++e) {
    const TokenLevel<E> level = level_of_token(shape, x, e, row, packed);
    active.forget();
    for (int first = 0; first < level.width; first += kWarp, ++stripe) {
      if (stripe % kCombineWarps != warp) continue;
      const int column = first + WarpGroup::thread();
      Compute<E> m[1];
      mix(active, level, column, m);
      if (column < level.width) matrices[chain.mixed[e] + column] = m[0];
    }
  }
}

/// P_{e+1} of every level, and waits for them.
template <class T>
__device__ void multiply_chain(const Chain& chain, T* matrices) {
  __syncthreads();
  for (int e = 1; e < chain.levels; ++e) {
    const int b = chain.b[e], c = chain.c[e];
    const T* left = matrices + chain.product[e - 1];
    const T* right = matrices + chain.mixed[e];
    T* product = matrices + chain.product[e];
    each_in_block(chain.a[e] * c, [&](int i) {
      const int row = i / c, column = i % c;
      T sum = 0;
      for (int k = 0; k < b; ++k)
        sum += left[row * b + k] * right[k * c + column];
      product[i] = sum;
    });
    __syncthreads();
  }
}

/// dM_e of every level from dG, which is in `d`; `spare` has room for as much.
/// The block must have written dG, and wait before it reads dM_e.
template <class E, class T = Compute<E>>
__device__ void differentiate_chain(const Chain& chain,
                                    const CombineShape& shape,
                                    const CombineBackward<E>& x,
                                    std::int64_t row,
                                    const T* matrices,
                                    T* d,
                                    T* spare) {
  for (int e = chain.levels - 1; e > 0; --e) {
    const int a = chain.a[e], b = chain.b[e], c = chain.c[e];
    const T* left = matrices + chain.product[e - 1];
    const T* right = matrices + chain.mixed[e];
    E* dm = x.grad_mixed[e] + row * shape.mixed[e];
    __syncthreads();
    each_in_block(b * c, [&](int i) {
      const int k = i / c, column = i % c;
      T sum = 0;
      for (int r = 0; r < a; ++r) sum += left[r * b + k] * d[r * c + column];
      store_value(dm[i], sum);
    });
    each_in_block(a * b, [&](int i) {
      const int r = i / b, k = i % b;
      T sum = 0;
      for (int j = 0; j < c; ++j) sum += d[r * c + j] * right[k * c + j];
      spare[i] = sum;
    });
    T* const next = spare;
    spare = d;
    d = next;
  }
  __syncthreads();
  E* dm = x.grad_mixed[0] + row * shape.mixed[0];
  each_in_block(chain.a[0] * chain.c[0],
                [&](int i) { store_value(dm[i], d[i]); });
}

}  // namespace mumoe::kernels
