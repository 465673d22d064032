#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/gelu.h"
#include "tests/mumoe/combine_cases.h"

// The GPU's kernels against the oracle, for those that run on a GPU and for the
// same that run on the CPU.
//
// A `Memory` is where the kernels run:
//   E* put(const std::vector<E>&, int offset)   a copy there, `offset` elements
//                                               after an aligned address
//   std::vector<E> get(const E*, std::size_t size)
//   void* stream()

namespace mumoe::testing {

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
  kernels::cuda::combine_row.of<E>().forward(memory.stream(), s, f, 0, c.rows);
  kernels::cuda::combine_row.of<E>().backward(memory.stream(), s, b, 0, c.rows);

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

/// Every kind with 1 to 4 levels at this width.
template <class E, class Memory>
void expect_every_kind(Memory& memory, std::int64_t width) {
  for (const CombineCase& c : every_kind(width)) {
    expect_oracle_combination<E>(memory, c);
    if (::testing::Test::HasFatalFailure()) return;
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
  kernels::cuda::gelu_row.of<E>().forward(memory.stream(), in, forward, count);
  kernels::cuda::gelu_row.of<E>()
      .backward(memory.stream(), in, grad, alone, nullptr, count);
  kernels::cuda::gelu_row.of<E>()
      .backward(memory.stream(), in, grad, grad, again, count);
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

/// Counts of values that are not zero, the array `offset` elements after an
/// aligned address.
template <class E, class Memory>
void expect_counts(Memory& memory, std::int64_t count, int offset) {
  constexpr double kKinds[] = {0, 1, -0.0, NAN, 0, -2, 1e-30, 0};
  Values values;
  std::int64_t expected = 40;  // what is there
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(kKinds[(i * 5 + i / 8) % 8]);
    expected += values.back() != 0;
  }
  const E* in = memory.put(stored<E>(values), offset);
  std::int64_t* sum = memory.put(std::vector<std::int64_t>{40}, 0);
  kernels::cuda::combine_row.of<E>().count_nonzero(memory.stream(),
                                                   in,
                                                   count,
                                                   sum);
  EXPECT_EQ(memory.get(sum, 1)[0], expected) << count << " at " << offset;
}

}  // namespace mumoe::testing
