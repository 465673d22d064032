// See mumoe/kernels/norm.h for the equations. A block a row, or several one
// after the other; a thread has the same columns of all of them, in registers.
#include "mumoe/kernels/norm.h"

#include <cmath>

#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_launch.h"
#include "mumoe/kernels/cuda_pack.h"

namespace mumoe::kernels {
namespace {

constexpr int kThreads = 128;
constexpr double kEps = 1e-5;
using Group = BlockGroup<kThreads>;

__device__ __forceinline__ float root(float x) {
  return sqrtf(x);
}
__device__ __forceinline__ double root(double x) {
  return sqrt(x);
}

/// The columns of this thread: `kPacks` packs, a block's width apart.
template <class T, int kPack, int kPacks>
struct Columns {
  T value[kPacks][kPack];

  __device__ static int column(int pack) {
    return (pack * kThreads + static_cast<int>(threadIdx.x)) * kPack;
  }
  /// f(column, values) for the packs that are inside of the width.
  template <class F>
  __device__ void each(int width, F f) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      if (column(p) < width) f(column(p), value[p]);
    }
  }
  __device__ void clear() {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) value[p][k] = 0;
    }
  }
};

/// x += y, where there is a y.
template <class E, class T, int kPack>
__device__ __forceinline__ void add_pack(T (&x)[kPack], const E* y) {
  if (y == nullptr) return;
  T more[kPack];
  load_pack(y, more);
#pragma unroll
  for (int k = 0; k < kPack; ++k) x[k] += more[k];
}

template <class E, int kPack, int kPacks>
__global__ void norm_forward_kernel(const __grid_constant__ NormForward<E> n) {
  using T = Compute<E>;
  const int width = static_cast<int>(n.width);
  const std::int64_t row = blockIdx.x, begin = row * n.width;
  Columns<T, kPack, kPacks> s;
  T sum = 0;
  s.each(width, [&](int column, T(&v)[kPack]) {
    load_pack(n.x + begin + column, v);
    add_pack(v, n.addend == nullptr ? nullptr : n.addend + begin + column);
#pragma unroll
    for (int k = 0; k < kPack; ++k) sum += v[k];
  });
  const T mean = Group::reduce(sum, Add{}) / width;
  T squares = 0;
  s.each(width, [&](int, T(&v)[kPack]) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) squares += (v[k] - mean) * (v[k] - mean);
  });
  const T variance = Group::reduce(squares, Add{}) / width;
  const T rstd = 1 / root(variance + static_cast<T>(kEps));
  if (threadIdx.x == 0) {
    n.mean[row] = mean;
    n.rstd[row] = rstd;
  }
  s.each(width, [&](int column, T(&v)[kPack]) {
    if (n.sum != nullptr) store_pack(n.sum + begin + column, v);
    if (n.rounded != nullptr) store_pack(n.rounded + begin + column, v);
    T w[kPack];
    load_pack(n.weight + column, w);
#pragma unroll
    for (int k = 0; k < kPack; ++k) v[k] = (v[k] - mean) * rstd * w[k];
    add_pack(v, n.bias == nullptr ? nullptr : n.bias + column);
    store_pack(n.result + begin + column, v);
  });
}

/// ds of rows `kNormRows` · block and following, and their part of dw and db.
///   g = dz ∘ w,   ŝ = (s − mean) rstd,
///   ds = rstd (g − mean(g) − ŝ mean(g ∘ ŝ)) and what else s has
template <class E, int kPack, int kPacks>
__global__ void norm_backward_kernel(
    const __grid_constant__ NormBackward<E> n) {
  using T = Compute<E>;
  using Held = Columns<T, kPack, kPacks>;
  const int width = static_cast<int>(n.width);
  const std::int64_t first = blockIdx.x * kNormRows;
  const std::int64_t last =
      first + kNormRows < n.rows ? first + kNormRows : n.rows;
  Held dw, db;
  dw.clear();
  db.clear();
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t begin = row * n.width;
    const T mean = n.mean[row], rstd = n.rstd[row];
    Held s, g;
    T sum = 0, product = 0;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int column = Held::column(p);
      if (column >= width) break;
      T dz[kPack], w[kPack];
      load_pack(n.sum + begin + column, s.value[p]);
      load_pack(n.grad_result + begin + column, dz);
      load_pack(n.weight + column, w);
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        s.value[p][k] = (s.value[p][k] - mean) * rstd;
        g.value[p][k] = dz[k] * w[k];
        sum += g.value[p][k];
        product += g.value[p][k] * s.value[p][k];
        dw.value[p][k] += dz[k] * s.value[p][k];
        db.value[p][k] += dz[k];
      }
    }
    const T mean_g = Group::reduce(sum, Add{}) / width;
    const T slope = Group::reduce(product, Add{}) / width;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int column = Held::column(p);
      if (column >= width) break;
      const std::int64_t at = begin + column;
      T d[kPack];
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        d[k] = rstd * (g.value[p][k] - mean_g - s.value[p][k] * slope);
      }
      add_pack(d, n.grad_sum == nullptr ? nullptr : n.grad_sum + at);
      add_pack(d, n.grad_rounded == nullptr ? nullptr : n.grad_rounded + at);
      store_pack(n.grad_x + at, d);
      if (n.grad_addend != nullptr) store_pack(n.grad_addend + at, d);
    }
  }
  T* const partial = n.partial + blockIdx.x * 2 * n.width;
  dw.each(width,
          [&](int column, T(&v)[kPack]) { store_pack(partial + column, v); });
  db.each(width, [&](int column, T(&v)[kPack]) {
    store_pack(partial + width + column, v);
  });
}

constexpr int kSumWarps = 8;
constexpr int kSumThreads = kSumWarps * kWarp;

/// dw and db from the blocks' parts: a lane a column of [parts, 2 width], the
/// parts shared out over the warps of its block.
template <class E>
__global__ void norm_sum_kernel(const __grid_constant__ NormBackward<E> n,
                                std::int64_t parts) {
  using T = Compute<E>;
  __shared__ T of_warp[kSumWarps][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::int64_t column = std::int64_t{blockIdx.x} * kWarp + lane;
  const std::int64_t columns = 2 * n.width;
  T sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (std::int64_t p = warp; p < parts; p += kSumWarps) {
      sum += n.partial[p * columns + column];
    }
  }
  of_warp[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= columns) return;
  for (int w = 1; w < kSumWarps; ++w) sum += of_warp[w][lane];
  const bool is_weight = column < n.width;
  T* const to = is_weight ? n.grad_weight : n.grad_bias;
  if (to == nullptr) return;
  T* const at = to + (is_weight ? column : column - n.width);
  *at = (is_weight ? n.add_weight : n.add_bias) ? *at + sum : sum;
}

/// Calls `f(pack, packs)`, sizes to compile for, for rows of this width at this
/// alignment (of values of `E`).
template <class E, class F>
void with_columns(std::int64_t width, std::uintptr_t alignment, F f) {
  constexpr int kFit = 16 / sizeof(E);
  constexpr int kFew = 8;
  constexpr int kMany = static_cast<int>(kNormWidth<E> / kThreads);
  MUMOE_CHECK(width <= kNormWidth<E>);
  const auto with_pack = [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    if (width <= kFew * kThreads) {
      f(pack, std::integral_constant<int, kFew / kPack>{});
    } else {
      f(pack, std::integral_constant<int, kMany / kPack>{});
    }
  };
  if (alignment % 16 == 0) {
    with_pack(std::integral_constant<int, kFit>{});
  } else {
    with_pack(std::integral_constant<int, 1>{});
  }
}

/// Of arrays of `E` and of the wider type, and of a row's length: a multiple of
/// 16 where all of them can be accessed in packs.
template <class E>
std::uintptr_t joint_alignment(std::int64_t width,
                               std::initializer_list<const void*> narrow,
                               std::initializer_list<const Compute<E>*> wide) {
  std::uintptr_t alignment = alignment_of(narrow, width * sizeof(E));
  for (const Compute<E>* pointer : wide) {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    if (address % (16 / sizeof(E) * sizeof(Compute<E>)) != 0) alignment |= 1;
  }
  return alignment;
}

template <class E>
void forward(void* stream, const NormForward<E>& n) {
  const auto alignment = joint_alignment<E>(n.width,
                                            {n.addend, n.rounded, n.result},
                                            {n.x, n.weight, n.bias, n.sum});
  with_columns<E>(n.width, alignment, [&](auto pack, auto packs) {
    launch(
        "norm forward",
        norm_forward_kernel<E, decltype(pack)::value, decltype(packs)::value>,
        n.rows,
        kThreads,
        stream,
        n);
  });
}

template <class E>
void backward(void* stream, const NormBackward<E>& n) {
  const auto alignment =
      joint_alignment<E>(n.width,
                         {n.grad_result, n.grad_rounded, n.grad_addend},
                         {n.sum, n.weight, n.grad_sum, n.grad_x, n.partial});
  const std::int64_t parts = (n.rows + kNormRows - 1) / kNormRows;
  with_columns<E>(n.width, alignment, [&](auto pack, auto packs) {
    launch(
        "norm backward",
        norm_backward_kernel<E, decltype(pack)::value, decltype(packs)::value>,
        parts,
        kThreads,
        stream,
        n);
  });
  if (n.grad_weight == nullptr && n.grad_bias == nullptr) return;
  launch("norm sums",
         norm_sum_kernel<E>,
         (2 * n.width + kWarp - 1) / kWarp,
         kSumThreads,
         stream,
         n,
         parts);
}

}  // namespace

namespace cuda {
const NormRow norm_row = {{forward<float>, backward<float>},
                          {forward<double>, backward<double>},
                          {forward<Bf16>, backward<Bf16>}};
}  // namespace cuda

}  // namespace mumoe::kernels
