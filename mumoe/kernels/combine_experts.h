#pragma once

#include <cstdint>

#include "mumoe/kernels/combine_shape.h"
#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_pack.h"

// The experts of one token: which are active, their mixture and the gradients
// of their coefficients. All of it is the work of one warp; for combine.cu.

namespace mumoe::kernels {

constexpr unsigned kWholeWarp = 0xffffffffu;
/// Dot products that a warp forms side by side, to have their loads in flight.
constexpr int kDots = 4;

constexpr int kCombineWarps = 4;
constexpr int kCombineThreads = kCombineWarps * kWarp;

/// One level of one token.
template <class E>
struct TokenLevel {
  const E* coefficients;  // a [N]
  int experts;            // N
  bool packed;            // whether packs of coefficients are aligned
  const E* expert;        // U [N, width]
  const E* mixed;         // m [width], or null: a U
  int width;
};

/// `matrices` is a CombineForward<E> or CombineBackward<E>; bit e of `packed`
/// is that of level e.
template <template <class> class Matrices, class E>
__device__ TokenLevel<E> level_of_token(const CombineShape& shape,
                                        const Matrices<E>& matrices,
                                        int e,
                                        std::int64_t row,
                                        unsigned packed) {
  const E* coefficients = matrices.coefficients[e];
  const E* mixed = matrices.mixed[e];
  return {
      coefficients == nullptr ? nullptr : coefficients + row * shape.experts[e],
      static_cast<int>(shape.experts[e]),
      (packed >> e & 1) != 0,
      matrices.expert[e],
      mixed == nullptr ? nullptr : mixed + row * shape.mixed[e],
      static_cast<int>(shape.mixed[e])};
}

/// A stretch of a token's active experts in the order of the experts, in shared
/// memory. Usually they all fit; where not, each stretch follows the last.
template <class E>
struct ActiveExperts {
  using T = Compute<E>;
  static constexpr int kPack = sizeof(E) == 8 ? 2 : 4;
  static constexpr int kTogether = kWarp * kPack;
  static constexpr int kCapacity = 128;
  static_assert(kTogether <= kCapacity);

  T coefficient[kCapacity];
  int expert[kCapacity];
  int first;
  int next;
  int count;

  /// Must be called first, and when level or `to` changes.
  __device__ void forget() {
    __syncwarp();
    if (WarpGroup::thread() == 0) first = -1;
    __syncwarp();
  }

  /// Holds the first experts of [from, to) that fit, and returns where they
  /// end, which may be after `to`.
  __device__ int hold(const TokenLevel<E>& level, int from, int to) {
    if (first == from) return next;
    __syncwarp();  // all have read what is overwritten
    const int lane = WarpGroup::thread();
    const unsigned lanes_before = (1u << lane) - 1;
    int held = 0, at = from;
    for (; at < to; at += kTogether) {
      const int n = at + lane * kPack;
      T value[kPack];
      load(level, n, to, value);
      int place = held, found = 0;
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const unsigned active = __ballot_sync(kWholeWarp, value[k] != 0);
        place += __popc(active & lanes_before);
        found += __popc(active);
      }
      if (held + found > kCapacity) break;
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        if (value[k] != 0) {
          coefficient[place] = value[k];
          expert[place] = n + k;
          ++place;
        }
      }
      held += found;
    }
    if (lane == 0) {
      first = from;
      next = at;
      count = held;
    }
    __syncwarp();
    return at;
  }

 private:
  __device__ static void load(const TokenLevel<E>& level,
                              int n,
                              int to,
                              T (&value)[kPack]) {
    if (level.packed && n < to) {
      load_pack(level.coefficients + n, value);
      return;
    }
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      value[k] = n + k < to ? load_value(level.coefficients[n + k]) : T(0);
    }
  }
};

/// m for `kPack` columns of this thread, those from `column` on; zero for a
/// thread whose columns are outside the matrix.
template <int kPack, class E, class T = Compute<E>>
__device__ void mix(ActiveExperts<E>& active,
                    const TokenLevel<E>& level,
                    int column,
                    T (&m)[kPack]) {
  const bool inside = column < level.width;
#pragma unroll
  for (int k = 0; k < kPack; ++k) m[k] = 0;
  if (level.mixed != nullptr) {
    if (inside) load_pack(level.mixed + column, m);
    return;
  }
  for (int from = 0; from < level.experts;) {
    from = active.hold(level, from, level.experts);
    const int count = inside ? active.count : 0;
#pragma unroll 4
    for (int i = 0; i < count; ++i) {
      const T a = active.coefficient[i];
      const std::int64_t n = active.expert[i];
      T u[kPack];
      load_pack(level.expert + n * level.width + column, u);
#pragma unroll
      for (int k = 0; k < kPack; ++k) m[k] += a * u[k];
    }
  }
}

/// q + b for the pack at `at` of a token's projection.
template <int kPack, class E, class T>
__device__ __forceinline__ void load_biased(const E* projection,
                                            const E* bias,
                                            int at,
                                            T (&q)[kPack]) {
  load_pack(projection + at, q);
  if (bias == nullptr) return;
  T b[kPack];
  load_pack(bias + at, b);
#pragma unroll
  for (int k = 0; k < kPack; ++k) q[k] += b[k];
}

/// Sum j over the warp, in thread j.
template <class T>
__device__ T sum_to_threads(const T (&sums)[kDots]) {
  T mine = 0;
#pragma unroll
  for (int j = 0; j < kDots; ++j) {
    const T sum = WarpGroup::reduce(sums[j], Add{});
    if (WarpGroup::thread() == j) mine = sum;
  }
  return mine;
}

/// da[from … to) = dm · U[n] where a is not zero, else zero. Each thread reads
/// the columns of `dm` that `mix` gives it.
template <int kPack, class E>
__device__ void coefficient_gradients(ActiveExperts<E>& active,
                                      const TokenLevel<E>& level,
                                      const E* dm,
                                      E* da,
                                      int from,
                                      int to) {
  using T = Compute<E>;
  constexpr int kStep = ActiveExperts<E>::kPack;
  const int lane = WarpGroup::thread();
  while (from < to) {
    const int next = active.hold(level, from, to);
    for (int n = from + lane * kStep; n < next; n += kWarp * kStep) {
      const T zeros[kStep] = {};
      if (level.packed && n < to) {
        store_pack(da + n, zeros);
      } else {
        for (int k = 0; k < kStep && n + k < to; ++k) {
          store_value(da[n + k], T(0));
        }
      }
    }
    __syncwarp();  // zeros before values
    const int count = active.count;
    for (int i = 0; i < count; i += kDots) {
      const E* u_row[kDots];
#pragma unroll
      for (int j = 0; j < kDots; ++j) {
        const std::int64_t n = active.expert[i + j < count ? i + j : i];
        u_row[j] = level.expert + n * level.width;
      }
      T sums[kDots] = {};
      for (int column = lane * kPack; column < level.width;
           column += kWarp * kPack) {
        T d[kPack], u[kPack];
        load_pack(dm + column, d);
#pragma unroll
        for (int j = 0; j < kDots; ++j) {
          load_pack(u_row[j] + column, u);
#pragma unroll
          for (int k = 0; k < kPack; ++k) sums[j] += d[k] * u[k];
        }
      }
      const T sum = sum_to_threads(sums);
      if (lane < kDots && i + lane < count) {
        store_value(da[active.expert[i + lane]], sum);
      }
    }
    from = next;
  }
}

}  // namespace mumoe::kernels
