#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MUMOE_HOST_DEVICE __host__ __device__ __forceinline__
#else
// Always inline: files compiled for different instruction sets share these, and
// the linker keeps one copy of an inline function that was not inlined.
#define MUMOE_HOST_DEVICE [[gnu::always_inline]] inline
#endif

namespace mumoe::kernels {

/// A bfloat16 as it lies in memory: the upper half of an fp32. Storage only;
/// arithmetic is in fp32.
struct Bf16 {
  std::uint16_t bits;
};

/// Exact.
MUMOE_HOST_DEVICE float to_float(Bf16 value) {
  const std::uint32_t wide = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  memcpy(&result, &wide, sizeof(result));
  return result;
}

/// Rounds to nearest, ties to even; what is above the largest bfloat16 becomes
/// infinite, NaN stays NaN with its sign (made quiet).
MUMOE_HOST_DEVICE Bf16 to_bf16(float value) {
  std::uint32_t wide;
  memcpy(&wide, &value, sizeof(wide));
  const std::uint32_t rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
  const std::uint32_t quiet = (wide >> 16) | 0x40u;
  const bool is_nan = (wide & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<std::uint16_t>(is_nan ? quiet : rounded)};
}

/// The type in which values stored as `E` are computed.
template <class E>
struct ComputeType {
  using type = E;
};
template <>
struct ComputeType<Bf16> {
  using type = float;
};
template <class E>
using Compute = typename ComputeType<E>::type;

/// Storage to arithmetic and back, for every element type.
MUMOE_HOST_DEVICE float load_value(Bf16 value) {
  return to_float(value);
}
MUMOE_HOST_DEVICE float load_value(float value) {
  return value;
}
MUMOE_HOST_DEVICE double load_value(double value) {
  return value;
}
MUMOE_HOST_DEVICE void store_value(Bf16& to, float value) {
  to = to_bf16(value);
}
MUMOE_HOST_DEVICE void store_value(float& to, float value) {
  to = value;
}
MUMOE_HOST_DEVICE void store_value(double& to, double value) {
  to = value;
}

}  // namespace mumoe::kernels
