#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "mumoe/kernels/combine_cuda.h"
#include "mumoe/kernels/gelu_cuda.h"
#include "tests/mumoe/combine_oracle.h"
#include "tests/mumoe/kernels_gate_oracle.h"

// Random inputs of the GPU's kernels, and their results against the oracle, for
// kernels that run on a GPU and for the same that run on the CPU.
//
// A `Memory` is where the kernels run:
//   E* put(const std::vector<E>&, int offset)   a copy there, `offset` elements
//                                               after an aligned address
//   std::vector<E> get(const E*, std::size_t size)
//   void* stream()

namespace mumoe::testing {

using kernels::CombineShape;
using kernels::kMaxLevels;

struct CombineCase {
  CombineShape shape;
  std::int64_t rows = 3;
  bool bias = true;
  unsigned given = 0;     ///< bit e: M_e is given
  double active = 0.25;   ///< part of the coefficients that is not zero
  bool gradients = true;  ///< of the coefficients
  int offset = 0;         ///< of all arrays, in elements
};

template <class E>
constexpr double kTolerance = 1e-12;
template <>
inline constexpr double kTolerance<float> = 2e-5;
template <>
inline constexpr double kTolerance<kernels::Bf16> = 1.0 / 100;

inline std::string name_of(const CombineCase& c) {
  const CombineShape& s = c.shape;
  return concat("kind ",
                static_cast<int>(s.kind),
                ", levels ",
                s.levels,
                ", columns ",
                s.columns,
                ", rows ",
                c.rows,
                ", given ",
                c.given,
                ", bias ",
                c.bias,
                ", offset ",
                c.offset);
}

/// Values that `E` can hold.
template <class E>
Values representable(std::uint64_t stream, std::int64_t size) {
  return loaded(stored<E>(random_row(stream, size, 1)));
}

template <class E>
CombineInputs random_inputs(const CombineCase& c) {
  const CombineShape& s = c.shape;
  CombineInputs in;
  std::uint64_t stream = 100;
  for (int e = 0; e < s.levels; ++e) {
    in.coefficients[e] = representable<E>(++stream, c.rows * s.experts[e]);
    const CounterRandom random(8, Purpose::test, stream);
    for (std::size_t i = 0; i < in.coefficients[e].size(); ++i) {
      if (random.uniform(i) >= c.active) in.coefficients[e][i] = -0.0;
    }
    in.expert[e] = representable<E>(++stream, s.experts[e] * s.mixed[e]);
    if (c.given >> e & 1) {
      in.mixed[e] = representable<E>(++stream, c.rows * s.mixed[e]);
    }
  }
  in.projection = representable<E>(++stream, c.rows * s.projection());
  if (c.bias) in.bias = representable<E>(++stream, s.projection());
  in.grad_result = representable<E>(++stream, c.rows * s.result());
  return in;
}

/// Differences are measured against the largest value.
template <class E>
void expect_values(const std::vector<E>& values,
                   const Values& expected,
                   const char* what,
                   const std::string& where) {
  ASSERT_EQ(values.size(), expected.size());
  double largest = 0;
  for (const double v : expected) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(kernels::load_value(values[i]),
                expected[i],
                kTolerance<E> * largest)
        << what << " " << i << "; " << where;
    if (expected[i] == 0) {
      ASSERT_EQ(kernels::load_value(values[i]), 0) << what << " " << where;
    }
  }
}

/// Runs both directions there, and compares.
template <class E, class Memory>
void expect_oracle_combination(Memory& memory, const CombineCase& c) {
  const CombineShape& s = c.shape;
  const CombineInputs in = random_inputs<E>(c);
  const CombineOutputs expected = combine_oracle(s, c.rows, in);
  const auto put = [&](const Values& values) -> const E* {
    return values.empty() ? nullptr : memory.put(stored<E>(values), c.offset);
  };
  // Every value of a result must be written.
  const auto room = [&](const Values& like) -> E* {
    return memory.put(stored<E>(Values(like.size(), NAN)), c.offset);
  };
  kernels::CombineForward<E> f;
  kernels::CombineBackward<E> b;
  f.projection = b.projection = put(in.projection);
  f.bias = b.bias = put(in.bias);
  b.grad_result = put(in.grad_result);
  f.result = room(expected.result);
  b.result = room(expected.result);
  b.grad_projection = room(expected.grad_projection);
  for (int e = 0; e < s.levels; ++e) {
    f.coefficients[e] = b.coefficients[e] = put(in.coefficients[e]);
    f.expert[e] = b.expert[e] = put(in.expert[e]);
    f.mixed[e] = b.mixed[e] = put(in.mixed[e]);
    b.grad_mixed[e] = room(expected.grad_mixed[e]);
    if (c.gradients) {
      b.grad_coefficients[e] = room(expected.grad_coefficients[e]);
    }
  }
  kernels::combine_forward_cuda(s, f, c.rows, memory.stream());
  kernels::combine_backward_cuda(s, b, c.rows, memory.stream());

  const std::string where = name_of(c);
  const auto check = [&](const E* at, const Values& to, const char* what) {
    expect_values(memory.get(at, to.size()), to, what, where);
  };
  check(f.result, expected.result, "c");
  check(b.result, expected.result, "c of backward");
  check(b.grad_projection, expected.grad_projection, "dq");
  for (int e = 0; e < s.levels; ++e) {
    check(b.grad_mixed[e], expected.grad_mixed[e], "dm");
    if (!c.gradients) continue;
    check(b.grad_coefficients[e], expected.grad_coefficients[e], "da");
  }
}

/// Every kind with 1 to 4 levels at this width; `rows` 1 to 7 in turn, mixing
/// formed, given, or both.
template <class E, class Memory>
void expect_every_kind(Memory& memory, std::int64_t width) {
  const Sizes experts = {64, 5, 20, 33};
  const Sizes ranks[] = {{4, 4}, {2, 3, 4}, {3, 1, 5, 2}, {2, 3, 1, 2, 3}};
  const Sizes tucker[] = {{37}, {5, 8}, {3, 2, 7}, {2, 3, 2, 4}};
  int number = 0;
  for (int levels = 1; levels <= kMaxLevels; ++levels) {
    const Sizes n(experts.begin(), experts.begin() + levels);
    for (const CombineShape& shape :
         {hadamard_shape(n, width),
          ring_shape(n, ranks[levels - 1], width),
          kronecker_shape(n, tucker[levels - 1], width)}) {
      CombineCase c;
      c.shape = shape;
      c.rows = 1 + number % 7;
      c.bias = number % 2 == 0;
      c.given = number % 3 == 0 ? 0 : number % 3 == 1 ? 1 : 0xau;
      c.gradients = number % 5 != 4;
      expect_oracle_combination<E>(memory, c);
      if (::testing::Test::HasFatalFailure()) return;
      ++number;
    }
  }
}

/// GELU and its gradient at `count` values, the arrays `offset` and
/// `other_offset` elements after an aligned address.
template <class E, class Memory>
void expect_gelu(Memory& memory,
                 std::int64_t count,
                 int offset,
                 int other_offset) {
  Values x = loaded(stored<E>(random_row(3, count, 3)));
  const Values g = representable<E>(4, count);
  if (count > 4) x[1] = 0, x[2] = 30, x[3] = -30;
  Values y, dx;
  for (std::int64_t i = 0; i < count; ++i) {
    const double cdf = 0.5 * std::erfc(-x[i] / std::sqrt(2.0));
    const double density =
        std::exp(-x[i] * x[i] / 2) / std::sqrt(2 * std::acos(-1.0));
    y.push_back(x[i] * cdf);
    dx.push_back(g[i] * (cdf + x[i] * density));
  }
  const auto room = stored<E>(Values(count, NAN));
  const E* in = memory.put(stored<E>(x), offset);
  E* forward = memory.put(room, other_offset);
  E* again = memory.put(room, offset);
  E* grad = memory.put(stored<E>(g), offset);  // dx in the place of dy
  E* alone = memory.put(room, other_offset);
  kernels::gelu_forward_cuda(in, forward, count, memory.stream());
  kernels::gelu_backward_cuda<E>(in,
                                 grad,
                                 alone,
                                 nullptr,
                                 count,
                                 memory.stream());
  kernels::gelu_backward_cuda(in, grad, grad, again, count, memory.stream());
  const auto check = [&](const E* at, const Values& expected) {
    const std::vector<E> values = memory.get(at, count);
    for (std::int64_t i = 0; i < count; ++i) {
      const double tolerance = std::is_same_v<E, double>  ? 1e-14
                               : std::is_same_v<E, float> ? 1e-6
                                                          : 1.0 / 256;
      ASSERT_NEAR(kernels::load_value(values[i]),
                  expected[i],
                  tolerance * (1e-1 + std::abs(expected[i])))
          << x[i] << " of " << count;
    }
  };
  check(forward, y);
  check(again, y);
  check(alone, dx);
  check(grad, dx);
}

}  // namespace mumoe::testing
