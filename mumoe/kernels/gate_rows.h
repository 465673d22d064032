#pragma once

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/cuda_group.h"
#include "mumoe/kernels/cuda_pack.h"

// Where the gate's GPU kernels keep a row of values, and which threads share
// it; for gate.cu. Both types have the same interface: `at(j)` is the j-th
// value of this thread, `index(j)` its place in the row.

namespace mumoe::kernels {

constexpr int kBlockThreads = 256;

/// A row of up to 32 · kValues values in the registers of a warp. `packed`:
/// size and addresses allow whole packs.
template <class E, int kValues>
struct RegisterRow {
  using T = Compute<E>;
  using Group = WarpGroup;
  static constexpr int kFit = 16 / static_cast<int>(sizeof(E));
  static constexpr int kPack = kFit < kValues ? kFit : kValues;

  T value[kValues];
  int size;
  bool packed;

  __device__ RegisterRow(const E* from, int size, bool packed)
      : size(size), packed(packed) {
    if (packed) {
#pragma unroll
      for (int j = 0; j < kValues; j += kPack) {
        Pack<E, kPack> pack = {};
        if (index(j) < size) {
          pack = *reinterpret_cast<const Pack<E, kPack>*>(from + index(j));
        }
#pragma unroll
        for (int k = 0; k < kPack; ++k)
          value[j + k] = load_value(pack.value[k]);
      }
    } else {
#pragma unroll
      for (int j = 0; j < kValues; ++j) {
        value[j] = index(j) < size ? load_value(from[index(j)]) : T(0);
      }
    }
  }

  __device__ int index(int j) const {
    return (j / kPack * kWarp + Group::thread()) * kPack + j % kPack;
  }
  __device__ T at(int j) const {
    return value[j];
  }

  __device__ void shift_and_scale(T shift, T scale) {
#pragma unroll
    for (int j = 0; j < kValues; ++j) value[j] = (value[j] - shift) * scale;
  }

  /// f(j) for every value that this thread holds.
  template <class F>
  __device__ void each(F f) const {
#pragma unroll
    for (int j = 0; j < kValues; ++j) {
      if (index(j) < size) f(j);
    }
  }

  /// to[index(j)] = f(j).
  template <class F>
  __device__ void write(E* to, F f) const {
    if (packed) {
#pragma unroll
      for (int j = 0; j < kValues; j += kPack) {
        Pack<E, kPack> pack;
#pragma unroll
        for (int k = 0; k < kPack; ++k) store_value(pack.value[k], f(j + k));
        if (index(j) < size) {
          *reinterpret_cast<Pack<E, kPack>*>(to + index(j)) = pack;
        }
      }
    } else {
      each([&](int j) { store_value(to[index(j)], f(j)); });
    }
  }
};

/// A row of any length, left in memory.
template <class E>
struct MemoryRow {
  using T = Compute<E>;
  using Group = BlockGroup<kBlockThreads>;

  const E* from;
  int size;
  T shift = 0;
  T scale = 1;

  __device__ MemoryRow(const E* from, int size, bool)
      : from(from), size(size) {}

  __device__ int index(int j) const {
    return j * Group::kThreads + Group::thread();
  }
  __device__ T at(int j) const {
    return (load_value(from[index(j)]) - shift) * scale;
  }
  /// At most twice, the first time with a scale of 1.
  __device__ void shift_and_scale(T more_shift, T more_scale) {
    shift += more_shift;
    scale *= more_scale;
  }
  template <class F>
  __device__ void each(F f) const {
    for (int j = 0; index(j) < size; ++j) f(j);
  }
  template <class F>
  __device__ void write(E* to, F f) const {
    each([&](int j) { store_value(to[index(j)], f(j)); });
  }
};

}  // namespace mumoe::kernels
