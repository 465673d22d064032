// The combination on a GPU: mumoe/kernels/combine.h has the equations; the
// kernels of ring and kronecker, and the launches. Experts are read row by row,
// only those with a coefficient other than zero; U stays in the caches.
#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/combine_chain.h"
#include "mumoe/kernels/combine_count.h"
#include "mumoe/kernels/combine_experts.h"
#include "mumoe/kernels/combine_hadamard.h"
#include "mumoe/kernels/cuda_launch.h"

namespace mumoe::kernels {
namespace {

/// c = G (Q + b). Where c has fewer packs than the block threads, several
/// threads share one and add up in `partial` [threads · kPack].
template <int kPack, class E, class T>
__device__ void combine_matrices(const CombineShape& shape,
                                 const T* g,
                                 const E* projection,
                                 const E* bias,
                                 E* result,
                                 T* partial) {
  const int inner = static_cast<int>(shape.inner);
  const int columns = static_cast<int>(shape.columns);
  const int row_packs = columns / kPack;
  const int packs = static_cast<int>(shape.rows) * row_packs;
  int parts = packs < kCombineThreads ? kCombineThreads / packs : 1;
  if (parts > inner) parts = inner;
  each_in_block(packs * parts, [&](int i) {
    const int pack = i % packs, column = pack % row_packs * kPack;
    const T* g_row = g + pack / row_packs * inner;
    T sum[kPack] = {}, q[kPack];
#pragma unroll 4
    for (int j = i / packs; j < inner; j += parts) {
      load_biased(projection, bias, j * columns + column, q);
#pragma unroll
      for (int k = 0; k < kPack; ++k) sum[k] += g_row[j] * q[k];
    }
    if (parts == 1) {
      store_pack(result + pack * kPack, sum);
    } else {
#pragma unroll
      for (int k = 0; k < kPack; ++k) partial[k * kCombineThreads + i] = sum[k];
    }
  });
  if (parts == 1) return;
  __syncthreads();
  each_in_block(packs, [&](int pack) {
    T sum[kPack] = {};
    for (int part = 0; part < parts; ++part) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        sum[k] += partial[k * kCombineThreads + part * packs + pack];
      }
    }
    store_pack(result + pack * kPack, sum);
  });
}

/// dQ = Gᵀ dc.
template <int kPack, class E, class T>
__device__ void projection_gradient(const CombineShape& shape,
                                    const T* g,
                                    const E* grad_result,
                                    E* grad_projection) {
  const int inner = static_cast<int>(shape.inner);
  const int columns = static_cast<int>(shape.columns);
  const int rows = static_cast<int>(shape.rows);
  const int row_packs = columns / kPack;
  each_in_block(inner * row_packs, [&](int i) {
    const int j = i / row_packs, column = i % row_packs * kPack;
    T sum[kPack] = {}, dc[kPack];
#pragma unroll 4
    for (int r = 0; r < rows; ++r) {
      load_pack(grad_result + r * columns + column, dc);
#pragma unroll
      for (int k = 0; k < kPack; ++k) sum[k] += g[r * inner + j] * dc[k];
    }
    store_pack(grad_projection + i * kPack, sum);
  });
}

/// dG = dc (Q + b)ᵀ into `dg` [rows, inner].
template <int kPack, class E, class T>
__device__ void matrix_gradient(const CombineShape& shape,
                                const E* projection,
                                const E* bias,
                                const E* grad_result,
                                T* dg) {
  const int inner = static_cast<int>(shape.inner);
  const int columns = static_cast<int>(shape.columns);
  const int rows = static_cast<int>(shape.rows);
  const int lane = WarpGroup::thread();
  const int warp = threadIdx.x / kWarp;
  // Dot products in the order of Gᵀ: those of a group share a row of Q.
  for (int i = warp * kDots; i < rows * inner; i += kCombineWarps * kDots) {
    T sums[kDots] = {};
    for (int column = lane * kPack; column < columns; column += kWarp * kPack) {
#pragma unroll
      for (int j = 0; j < kDots; ++j) {
        const int dot = i + j < rows * inner ? i + j : i;
        T q[kPack], dc[kPack];
        load_biased(projection, bias, dot / rows * columns + column, q);
        load_pack(grad_result + dot % rows * columns + column, dc);
#pragma unroll
        for (int k = 0; k < kPack; ++k) sums[j] += dc[k] * q[k];
      }
    }
    const T sum = sum_to_threads(sums);
    const int dot = i + lane;
    if (lane < kDots && dot < rows * inner) {
      dg[dot % rows * inner + dot / rows] = sum;
    }
  }
}

template <class E, int kPack>
__global__ void chain_forward_kernel(
    const __grid_constant__ CombineShape shape,
    const __grid_constant__ Chain chain,
    const __grid_constant__ CombineForward<E> x,
    unsigned packed) {
  using T = Compute<E>;
  __shared__ ActiveExperts<E> active[kCombineWarps];
  __shared__ T matrices[kCombineMaxMatrices];
  __shared__ T partial[kCombineThreads * kPack];
  const std::int64_t row = blockIdx.x;
  mix_chain(active[threadIdx.x / kWarp],
            chain,
            shape,
            x,
            row,
            packed,
            matrices);
  multiply_chain(chain, matrices);
  combine_matrices<kPack>(shape,
                          matrices + chain.product[chain.levels - 1],
                          x.projection + row * chain.projection,
                          x.bias,
                          x.result + row * chain.result,
                          partial);
}

template <class E, int kPack>
__global__ void chain_backward_kernel(
    const __grid_constant__ CombineShape shape,
    const __grid_constant__ Chain chain,
    const __grid_constant__ CombineBackward<E> x,
    unsigned packed) {
  using T = Compute<E>;
  __shared__ ActiveExperts<E> of_block[kCombineWarps];
  __shared__ T matrices[kCombineMaxMatrices];
  __shared__ T d[2][kCombineMaxMatrix];
  static_assert(kCombineThreads * kPack <= kCombineMaxMatrix);
  const int warp = threadIdx.x / kWarp;
  ActiveExperts<E>& active = of_block[warp];
  const std::int64_t row = blockIdx.x;
  const E* projection = x.projection + row * chain.projection;
  const E* grad_result = x.grad_result + row * chain.result;
  const T* g = matrices + chain.product[chain.levels - 1];
  mix_chain(active, chain, shape, x, row, packed, matrices);
  multiply_chain(chain, matrices);
  combine_matrices<kPack>(shape,
                          g,
                          projection,
                          x.bias,
                          x.result + row * chain.result,
                          d[1]);
  projection_gradient<kPack>(shape,
                             g,
                             grad_result,
                             x.grad_projection + row * chain.projection);
  matrix_gradient<kPack>(shape, projection, x.bias, grad_result, d[0]);
  differentiate_chain(chain, shape, x, row, matrices, d[0], d[1]);
  __syncthreads();  // each warp reads all of dm below
  for (int e = 0; e < chain.levels; ++e) {
    if (x.grad_coefficients[e] == nullptr) continue;
    const TokenLevel<E> level = level_of_token(shape, x, e, row, packed);
    constexpr int kTogether = ActiveExperts<E>::kTogether;
    const int steps = (level.experts + kTogether - 1) / kTogether;
    const int share = (steps + kCombineWarps - 1) / kCombineWarps * kTogether;
    const int first = warp * share;
    const int last = first + share;
    active.forget();
    coefficient_gradients<1>(active,
                             level,
                             x.grad_mixed[e] + row * level.width,
                             x.grad_coefficients[e] + row * level.experts,
                             first,
                             last < level.experts ? last : level.experts);
  }
}

/// Bit e: whether rows of level e's coefficients can be read (and their
/// gradients written) in packs.
template <class E>
unsigned packed_levels(const CombineShape& shape,
                       const E* const* coefficients,
                       const E* const* gradients) {
  unsigned packed = 0;
  for (int e = 0; e < shape.levels; ++e) {
    const std::uintptr_t alignment =
        alignment_of({coefficients[e], gradients ? gradients[e] : nullptr},
                     shape.experts[e] * sizeof(E));
    const bool fits = alignment % (ActiveExperts<E>::kPack * sizeof(E)) == 0;
    packed |= static_cast<unsigned>(fits) << e;
  }
  return packed;
}

/// Of all that is read or written in packs of columns, `others` included.
template <class Matrices>
std::uintptr_t columns_alignment(const CombineShape& shape,
                                 const Matrices& x,
                                 std::initializer_list<const void*> others) {
  std::uintptr_t alignment =
      alignment_of({x.projection, x.bias, x.result},
                   shape.columns * sizeof(*x.projection)) |
      alignment_of(others);
  // The chain's small matrices are read value by value.
  if (shape.kind != Combination::hadamard) return alignment;
  for (int e = 0; e < shape.levels; ++e) {
    alignment |= alignment_of({x.expert[e], x.mixed[e]});
  }
  return alignment;
}

std::int64_t blocks_of_warps(std::int64_t rows) {
  return (rows + kCombineWarps - 1) / kCombineWarps;
}

/// Calls `f` with a number of levels to compile for.
template <class F>
void with_levels(int levels, F f) {
  if (levels == 1) return f(std::integral_constant<int, 1>{});
  if (levels == 2) return f(std::integral_constant<int, 2>{});
  f(std::integral_constant<int, kMaxLevels>{});
}

template <class E>
void forward(void* stream,
             const CombineShape& shape,
             const CombineForward<E>& x,
             std::int64_t first,
             std::int64_t last) {
  MUMOE_CHECK(first == 0);
  const std::int64_t rows = last;
  const char* name = "combine forward";
  const unsigned packed = packed_levels<E>(shape, x.coefficients, nullptr);
  with_pack<E>(columns_alignment(shape, x, {}), [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    if (shape.kind == Combination::hadamard) {
      launch(name,
             hadamard_forward_kernel<E, kPack>,
             blocks_of_warps(rows),
             kCombineThreads,
             stream,
             shape,
             x,
             rows,
             packed);
    } else {
      launch(name,
             chain_forward_kernel<E, kPack>,
             rows,
             kCombineThreads,
             stream,
             shape,
             make_chain(shape),
             x,
             packed);
    }
  });
}

template <class E>
void backward(void* stream,
              const CombineShape& shape,
              const CombineBackward<E>& x,
              std::int64_t first,
              std::int64_t last) {
  MUMOE_CHECK(first == 0);
  const std::int64_t rows = last;
  const char* name = "combine backward";
  const unsigned packed =
      packed_levels<E>(shape, x.coefficients, x.grad_coefficients);
  std::uintptr_t alignment =
      columns_alignment(shape, x, {x.grad_result, x.grad_projection});
  if (shape.kind != Combination::hadamard) {
    with_pack<E>(alignment, [&](auto pack) {
      launch(name,
             chain_backward_kernel<E, decltype(pack)::value>,
             rows,
             kCombineThreads,
             stream,
             shape,
             make_chain(shape),
             x,
             packed);
    });
    return;
  }
  for (int e = 0; e < shape.levels; ++e) {
    alignment |= alignment_of({x.grad_mixed[e]});
  }
  with_pack<E>(alignment, [&](auto pack) {
    with_levels(shape.levels, [&](auto levels) {
      constexpr int kLevels = decltype(levels)::value;
      launch(name,
             hadamard_backward_kernel<E, decltype(pack)::value, kLevels>,
             blocks_of_warps(rows),
             kCombineThreads,
             stream,
             shape,
             x,
             rows,
             packed);
    });
  });
}

}  // namespace

namespace cuda {
const CombineRow combine_row = {
    {forward<float>, backward<float>, count_nonzero<float>},
    {forward<double>, backward<double>, count_nonzero<double>},
    {forward<Bf16>, backward<Bf16>, count_nonzero<Bf16>}};
}  // namespace cuda

}  // namespace mumoe::kernels
