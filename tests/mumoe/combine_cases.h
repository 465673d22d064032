#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/mumoe/combine_oracle.h"
#include "tests/mumoe/kernels_gate_oracle.h"

// Random inputs of the kernels that combine, on a CPU and on a GPU.

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
  return fmt::format(
      "kind {}, levels {}, columns {}, rows {}, given {}, bias {}, offset {}",
      static_cast<int>(s.kind),
      s.levels,
      s.columns,
      c.rows,
      c.given,
      c.bias,
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
                   const std::string& where,
                   double tolerance = kTolerance<E>) {
  ASSERT_EQ(values.size(), expected.size());
  double largest = 0;
  for (const double v : expected) largest = std::max(largest, std::abs(v));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(kernels::load_value(values[i]),
                expected[i],
                tolerance * largest)
        << what << " " << i << "; " << where;
    if (expected[i] == 0) {
      ASSERT_EQ(kernels::load_value(values[i]), 0) << what << " " << where;
    }
  }
}

/// Every kind with 1 to 4 levels at this width; `rows` 1 to 7 in turn, mixing
/// formed, given, or both.
inline std::vector<CombineCase> every_kind(std::int64_t width) {
  const Sizes experts = {64, 5, 20, 33};
  const Sizes ranks[] = {{4, 4}, {2, 3, 4}, {3, 1, 5, 2}, {2, 3, 1, 2, 3}};
  const Sizes tucker[] = {{37}, {5, 8}, {3, 2, 7}, {2, 3, 2, 4}};
  std::vector<CombineCase> cases;
  for (int levels = 1; levels <= kMaxLevels; ++levels) {
    const Sizes n(experts.begin(), experts.begin() + levels);
    for (const CombineShape& shape :
         {hadamard_shape(n, width),
          ring_shape(n, ranks[levels - 1], width),
          kronecker_shape(n, tucker[levels - 1], width)}) {
      const std::size_t number = cases.size();
      CombineCase c;
      c.shape = shape;
      c.rows = 1 + static_cast<std::int64_t>(number % 7);
      c.bias = number % 2 == 0;
      // Not in step with the kinds.
      const std::size_t given = (number + number / 3) % 3;
      c.given = given == 0 ? 0 : given == 1 ? 1 : 0xau;
      c.gradients = number % 5 != 4;
      cases.push_back(c);
    }
  }
  return cases;
}

}  // namespace mumoe::testing
