#pragma once

#include <c10/util/BFloat16.h>
#include <nccl.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tests/fakes/fake_group.h"

// NCCL's reductions as it does them, on the host, in rank order.

namespace mumoe::fakes {

inline std::size_t size_of(ncclDataType_t type) {
  return type == ncclBfloat16 ? 2 : type == ncclFloat32 ? 4 : 8;
}

/// As on the GPU: a NaN loses against a number, and −0 is below +0.
template <class T>
T smaller(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a < b ? a : b;
  } else {
    const double x = static_cast<double>(a), y = static_cast<double>(b);
    if (x == 0 && y == 0) return std::signbit(x) ? a : b;
    return static_cast<T>(std::fmin(x, y));
  }
}

template <class T>
T larger(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a < b ? b : a;
  } else {
    const double x = static_cast<double>(a), y = static_cast<double>(b);
    if (x == 0 && y == 0) return std::signbit(x) ? b : a;
    return static_cast<T>(std::fmax(x, y));
  }
}

template <class T>
void reduce_as(const std::vector<Bytes>& parts,
               std::size_t first,
               std::size_t count,
               ncclRedOp_t op,
               void* out) {
  const T ranks = static_cast<T>(static_cast<float>(parts.size()));
  const T scale = static_cast<T>(1.0F / static_cast<float>(parts.size()));
  for (std::size_t i = 0; i < count; ++i) {
    T sum{};
    for (std::size_t r = 0; r < parts.size(); ++r) {
      T x = reinterpret_cast<const T*>(parts[r].data())[first + i];
      if (op == ncclAvg && !std::is_integral_v<T>) x = x * scale;
      sum = r == 0          ? x
            : op == ncclMin ? smaller(sum, x)
            : op == ncclMax ? larger(sum, x)
                            : static_cast<T>(sum + x);
    }
    if (op == ncclAvg && std::is_integral_v<T>) sum = sum / ranks;
    static_cast<T*>(out)[i] = sum;
  }
}

/// Elements [first, first + count) of all ranks' `parts`, reduced into `out`.
inline void reduce(const std::vector<Bytes>& parts,
                   std::size_t first,
                   std::size_t count,
                   ncclDataType_t type,
                   ncclRedOp_t op,
                   void* out) {
  switch (type) {
    case ncclBfloat16:
      return reduce_as<c10::BFloat16>(parts, first, count, op, out);
    case ncclFloat32:
      return reduce_as<float>(parts, first, count, op, out);
    case ncclFloat64:
      return reduce_as<double>(parts, first, count, op, out);
    default:
      return reduce_as<std::int64_t>(parts, first, count, op, out);
  }
}

}  // namespace mumoe::fakes
