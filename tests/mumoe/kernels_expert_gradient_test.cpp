// The gradient of an expert factor and the count of active experts on the CPU:
// every instruction set of this machine against loops in fp64.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "mumoe/kernels/combine.h"
#include "tests/mumoe/available_isas.h"
#include "tests/mumoe/combine_cases.h"

namespace mumoe::testing {
namespace {

using kernels::Bf16;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Sums {
  std::int64_t rows, experts, width;
  Values a, dm, held;  ///< `held`: what dU holds before

  template <class E>
  static Sums random(std::int64_t rows,
                     std::int64_t experts,
                     std::int64_t width) {
    Sums s{rows, experts, width, {}, {}, {}};
    s.a = representable<E>(1, rows * experts);
    const CounterRandom random(8, Purpose::test, 2);
    for (std::size_t i = 0; i < s.a.size(); ++i) {
      const double draw = random.uniform(i);
      if (draw < 0.8) s.a[i] = draw < 0.4 ? 0.0 : -0.0;
    }
    s.dm = representable<E>(3, rows * width);
    s.held = representable<E>(4, experts * width);
    return s;
  }

  Values expected(bool accumulate) const {
    Values sum = accumulate ? held : Values(held.size());
    for (std::int64_t t = 0; t < rows; ++t) {
      for (std::int64_t n = 0; n < experts; ++n) {
        if (a[t * experts + n] == 0) continue;
        for (std::int64_t i = 0; i < width; ++i) {
          sum[n * width + i] += a[t * experts + n] * dm[t * width + i];
        }
      }
    }
    return sum;
  }

  /// Columns `cuts[k]` to `cuts[k + 1]` − 1 in turn.
  template <class E>
  std::vector<E> run(Isa isa, bool accumulate, const Sizes& cuts) const {
    const auto coefficients = stored<E>(a), grad_mixed = stored<E>(dm);
    auto to = stored<E>(held);
    for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
      kernels::mixing_kernels.row<E>(isa).expert_gradient(coefficients.data(),
                                                          grad_mixed.data(),
                                                          to.data(),
                                                          rows,
                                                          experts,
                                                          width,
                                                          cuts[k],
                                                          cuts[k + 1],
                                                          accumulate);
    }
    return to;
  }
};

template <class E>
bool equal_bits(const std::vector<E>& a, const std::vector<E>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(E)) == 0;
}

template <class E>
class ExpertGradient : public ::testing::Test {};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(ExpertGradient, Elements);

TYPED_TEST(ExpertGradient, EqualsTheSumOverTokens) {
  using E = TypeParam;
  const double close = std::is_same_v<E, double>  ? 1e-14
                       : std::is_same_v<E, float> ? 2e-6
                                                  : 1.01 / 256;
  for (const std::int64_t width : {1, 7, 16, 23, 199, 556}) {
    for (const std::int64_t experts : {1, 5, 16, 33, 130}) {
      for (const std::int64_t rows : {0, 1, 37}) {
        const Sums s = Sums::random<E>(rows, experts, width);
        for (const bool accumulate : {false, true}) {
          const Values expected = s.expected(accumulate);
          for (const Isa isa : available_isas()) {
            expect_values(s.run<E>(isa, accumulate, {0, width}),
                          expected,
                          "dU",
                          fmt::format("{} columns, {} experts, {} rows, {}",
                                      width,
                                      experts,
                                      rows,
                                      to_string(isa)),
                          close);
            if (this->HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TYPED_TEST(ExpertGradient, ColumnsDoNotDependOnHowTheyAreSharedOut) {
  using E = TypeParam;
  const std::int64_t width = 199, experts = 33;
  const Sums s = Sums::random<E>(37, experts, width);
  for (const Isa isa : available_isas()) {
    for (const bool accumulate : {false, true}) {
      const auto whole = s.run<E>(isa, accumulate, {0, width});
      for (const Sizes& cuts : {Sizes{0, 96, 199},
                                Sizes{0, 16, 64, 64, 192, 199},
                                Sizes{0, 64, 128, 192, 199}}) {
        for (const std::int64_t cut : cuts) {
          ASSERT_TRUE(cut == width || cut % kernels::kExpertGradientCut == 0);
        }
        EXPECT_TRUE(equal_bits(s.run<E>(isa, accumulate, cuts), whole))
            << to_string(isa);
      }
      // A part of the columns leaves the others as they are.
      const auto part = s.run<E>(isa, accumulate, {48, 80});
      const auto held = stored<E>(s.held);
      for (std::int64_t i = 0; i < experts * width; ++i) {
        const bool inside = i % width >= 48 && i % width < 80;
        ASSERT_EQ(kernels::load_value(part[i]),
                  kernels::load_value(inside ? whole[i] : held[i]))
            << i;
      }
    }
  }
}

TYPED_TEST(ExpertGradient, NotANumberReachesTheExpertsOfItsTokenAlone) {
  using E = TypeParam;
  const std::int64_t width = 23, experts = 17, rows = 6;
  const Sums before = Sums::random<E>(rows, experts, width);
  Sums coefficient = before, gradient = before;
  coefficient.a[2 * experts + 16] = kNan;
  for (std::int64_t i = 0; i < width; ++i) gradient.dm[2 * width + i] = kNan;
  for (const Isa isa : available_isas()) {
    const auto right = before.run<E>(isa, false, {0, width});
    const auto first = coefficient.run<E>(isa, false, {0, width});
    const auto second = gradient.run<E>(isa, false, {0, width});
    for (std::int64_t n = 0; n < experts; ++n) {
      const bool active = before.a[2 * experts + n] != 0;
      for (std::int64_t i = n * width; i < (n + 1) * width; ++i) {
        const auto expect = [&](const E& found, bool bad) {
          const auto value = kernels::load_value(found);
          ASSERT_EQ(std::isnan(value), bad) << "expert " << n;
          if (!bad) {
            ASSERT_EQ(value, kernels::load_value(right[i]));
          }
        };
        expect(first[i], n == 16);
        expect(second[i], active);
      }
    }
  }
}

TYPED_TEST(ExpertGradient, CountOfValuesThatAreNotZero) {
  using E = TypeParam;
  const double smallest = std::is_same_v<E, double>  ? 0x1p-1074
                          : std::is_same_v<E, float> ? 0x1p-149
                                                     : 0x1p-133;
  const double kinds[] = {0.0, 1.0, -0.0, kNan, smallest, -2.0, 0.0, -smallest};
  for (const std::int64_t size : {0, 1, 7, 15, 16, 17, 31, 32, 33, 1000}) {
    Values values;
    std::int64_t expected = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      values.push_back(kinds[(i * 5 + i / 8) % 8]);
      expected += values.back() != 0;
    }
    const auto in = stored<E>(values);
    for (const Isa isa : available_isas()) {
      const auto& kernel = kernels::combine_kernels.row<E>(isa);
      std::int64_t found = 0;
      kernel.count_nonzero(nullptr, in.data(), size, &found);
      EXPECT_EQ(found, expected);
      // Added to what is there; where it is not aligned.
      if (size > 1) {
        kernel.count_nonzero(nullptr, in.data() + 1, size - 1, &found);
        EXPECT_EQ(found, 2 * expected - (values[0] != 0));
      }
    }
  }
}

}  // namespace
}  // namespace mumoe::testing
