#include "dist/mpi/reduction.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <type_traits>

#include "base/error.h"
#include "dist/torch_text.h"

namespace mumoe::dist {
namespace {

// Elements a block holds: its accumulators stay in the first-level cache.
constexpr std::int64_t kBlock = 2048;

// bf16 as its bits, so that loops over it vectorise.
struct Bf16 {
  std::uint16_t bits;
};

template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;

template <class T>
Accumulator<T> widen(T value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return std::bit_cast<float>(std::uint32_t{value.bits} << 16);
  } else {
    return value;
  }
}

// To nearest even; every NaN becomes the canonical one.
template <class T>
T narrow(Accumulator<T> value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const std::uint32_t result = value != value ? 0x7fc0 : rounded;
    return {static_cast<std::uint16_t>(result)};
  } else {
    return value;
  }
}

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

struct Sum {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<std::uint64_t>(a) +
                            static_cast<std::uint64_t>(b));
    } else {
      return a + b;
    }
  }
};

// Equal values differ at most in the sign of zero: OR keeps the minus of a
// minimum, AND drops that of a maximum, in either order of the operands.
template <bool kMax>
struct Extremum {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return kMax ? std::max(a, b) : std::min(a, b);
    } else {
      const auto x = std::bit_cast<Bits<T>>(a);
      const auto y = std::bit_cast<Bits<T>>(b);
      const T equal = std::bit_cast<T>(kMax ? x & y : x | y);
      const T larger = a > b ? a : b;
      const T smaller = a < b ? a : b;
      const T other = kMax ? larger : smaller;
      const T number = a == b ? equal : other;
      return (a != a) | (b != b) ? std::numeric_limits<T>::quiet_NaN() : number;
    }
  }
};

template <class T, class Op>
void reduce_parts_as(std::span<const void* const> parts,
                     void* out,
                     std::int64_t count,
                     bool average) {
  using A = Accumulator<T>;
  std::array<A, kBlock> sums;
  const auto ranks = static_cast<A>(parts.size());
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    const T* first = static_cast<const T*>(parts[0]) + begin;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) sums[i] = widen(first[i]);
    for (std::size_t r = 1; r < parts.size(); ++r) {
      const T* part = static_cast<const T*>(parts[r]) + begin;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        sums[i] = Op::apply(sums[i], widen(part[i]));
      }
    }
    for (std::int64_t i = 0; average && i < n; ++i) sums[i] /= ranks;
    T* result = static_cast<T*>(out) + begin;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) result[i] = narrow<T>(sums[i]);
  }
}

template <class T, class Op>
void reduce_pair_as(const void* in, void* inout, std::int64_t count) {
  const T* a = static_cast<const T*>(in);
  T* b = static_cast<T*>(inout);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    b[i] = narrow<T>(Op::apply(widen(a[i]), widen(b[i])));
  }
}

template <class T>
void divide_as(void* data, std::int64_t count, int divisor) {
  using A = Accumulator<T>;
  T* values = static_cast<T*>(data);
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = narrow<T>(widen(values[i]) / static_cast<A>(divisor));
  }
}

// Calls `f` with a value of the C++ type that `type` names.
template <class F>
void with_type(at::ScalarType type, F&& f) {
  switch (type) {
    case at::kBFloat16:
      return f(Bf16{});
    case at::kFloat:
      return f(float{});
    case at::kDouble:
      return f(double{});
    case at::kLong:
      return f(std::int64_t{});
    default:
      fail<InternalError>("dtype {} has no reduction", type);
  }
}

// Calls `f` with the operation that `op` names.
template <class F>
void with_op(ReduceOp op, F&& f) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::avg:
      return f(Sum{});
    case ReduceOp::min:
      return f(Extremum<false>{});
    case ReduceOp::max:
      return f(Extremum<true>{});
  }
}

}  // namespace

void reduce_parts(at::ScalarType type,
                  ReduceOp op,
                  std::span<const void* const> parts,
                  void* out,
                  std::int64_t count) {
  with_type(type, [&]<class T>(T) {
    with_op(op, [&]<class By>(By) {
      reduce_parts_as<T, By>(parts, out, count, op == ReduceOp::avg);
    });
  });
}

void reduce_pair(at::ScalarType type,
                 ReduceOp op,
                 const void* in,
                 void* inout,
                 std::int64_t count) {
  with_type(type, [&]<class T>(T) {
    with_op(op, [&]<class By>(By) { reduce_pair_as<T, By>(in, inout, count); });
  });
}

void divide(at::ScalarType type, void* data, std::int64_t count, int divisor) {
  with_type(type, [&]<class T>(T) { divide_as<T>(data, count, divisor); });
}

}  // namespace mumoe::dist
