#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "mumoe/kernels/bf16.h"

// Several values in one access of up to 16 bytes; for .cu files.

namespace mumoe::kernels {

/// As much of a row as fits one 16-byte access, or less.
template <class E, int kCount>
struct alignas(sizeof(E) * kCount) Pack {
  E value[kCount];
};

/// `from` must be aligned to the pack.
template <int kCount, class E>
__device__ __forceinline__ void load_pack(const E* from,
                                          Compute<E> (&to)[kCount]) {
  const auto pack = *reinterpret_cast<const Pack<E, kCount>*>(from);
#pragma unroll
  for (int k = 0; k < kCount; ++k) to[k] = load_value(pack.value[k]);
}

/// `to` must be aligned to the pack.
template <int kCount, class E>
__device__ __forceinline__ void store_pack(E* to,
                                           const Compute<E> (&from)[kCount]) {
  Pack<E, kCount> pack;
#pragma unroll
  for (int k = 0; k < kCount; ++k) store_value(pack.value[k], from[k]);
  *reinterpret_cast<Pack<E, kCount>*>(to) = pack;
}

/// Addresses and sizes in bytes, or-ed: a power of two that divides the result
/// divides each of them. Null is aligned to everything.
inline std::uintptr_t alignment_of(std::initializer_list<const void*> pointers,
                                   std::uintptr_t bytes = 0) {
  for (const void* pointer : pointers) {
    bytes |= reinterpret_cast<std::uintptr_t>(pointer);
  }
  return bytes;
}

/// Calls `f` with the most values that one access may have at this alignment,
/// as a std::integral_constant: 16 bytes, 8 bytes or one value.
template <class E, class F>
void with_pack(std::uintptr_t alignment, F f) {
  constexpr int kSize = sizeof(E);
  if (alignment % 16 == 0) {
    return f(std::integral_constant<int, 16 / kSize>{});
  }
  if constexpr (kSize < 8) {
    if (alignment % 8 == 0) {
      return f(std::integral_constant<int, 8 / kSize>{});
    }
  }
  f(std::integral_constant<int, 1>{});
}

}  // namespace mumoe::kernels
