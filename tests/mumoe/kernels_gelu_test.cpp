// GELU on the CPU: every instruction set of this machine against erfc in a
// wider type.
#include "mumoe/kernels/gelu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "tests/mumoe/available_isas.h"
#include "tests/mumoe/kernels_gate_oracle.h"

namespace mumoe::testing {
namespace {

using kernels::Bf16;
using kernels::Compute;
using kernels::load_value;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

long double below(long double x) {
  return std::erfc(-x / std::sqrt(2.0L)) / 2;
}
long double density(long double x) {
  return std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0L));
}

/// What a result may be off by, from the size of what it is a sum of.
///
/// fp32: e^{−x²/2} is the exponential of a rounded argument, an error of x²/2
/// units; its series ends at e^{−87}, |x| = 13.19. fp64: erfc of an argument
/// with two roundings, 2x² units. All else adds less than ten. bf16 has coarser
/// series, and rounds once more; denormals may be stored as zeros.
template <class E>
long double error_bound(long double x, long double size) {
  if (std::is_same_v<E, double>) {
    return 0x1p-53L * (10 + 2 * x * x) * size + 1e-306L;
  }
  const long double coarse = std::is_same_v<E, Bf16> ? 0x1p-8L + 2e-4L : 0;
  return (0x1p-24L * (10 + x * x / 2) + coarse) * size + 3e-37L;
}

struct Results {
  Values y, y_again, dx, dx_in_place, dx_alone;
};

template <class E>
Results run(Isa isa, const Values& x, const Values& dy) {
  const auto in = stored<E>(x);
  const auto grad = stored<E>(dy);
  const auto count = static_cast<std::int64_t>(x.size());
  std::vector<E> y(x.size()), again(x.size()), dx(x.size()), alone(x.size());
  kernels::gelu_kernels.row<E>(isa).forward(nullptr,
                                            in.data(),
                                            y.data(),
                                            count);
  kernels::gelu_kernels.row<E>(isa).backward(nullptr,
                                             in.data(),
                                             grad.data(),
                                             dx.data(),
                                             again.data(),
                                             count);
  auto in_place = grad;
  kernels::gelu_kernels.row<E>(isa).backward(nullptr,
                                             in.data(),
                                             in_place.data(),
                                             in_place.data(),
                                             again.data(),
                                             count);
  kernels::gelu_kernels.row<E>(isa)
      .backward(nullptr, in.data(), grad.data(), alone.data(), nullptr, count);
  return {loaded(y),
          loaded(again),
          loaded(dx),
          loaded(in_place),
          loaded(alone)};
}

bool same(const Values& a, const Values& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

template <class E>
void expect_exact(const Values& x) {
  const Values dy = loaded(stored<E>(random_row(2, x.size(), 1)));
  for (const Isa isa : available_isas()) {
    const Results found = run<E>(isa, x, dy);
    ASSERT_TRUE(same(found.y, found.y_again)) << to_string(isa);
    ASSERT_TRUE(same(found.dx, found.dx_in_place)) << to_string(isa);
    ASSERT_TRUE(same(found.dx, found.dx_alone)) << to_string(isa);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double v = x[i];
      const long double cdf = below(v), slope = v * density(v);
      const long double y = v * cdf, dx = dy[i] * (cdf + slope);
      const long double size = std::abs(dy[i]) * (cdf + std::abs(slope));
      ASSERT_LE(std::abs(found.y[i] - y), error_bound<E>(v, std::abs(y)))
          << x[i] << ": " << found.y[i] << ", " << to_string(isa);
      ASSERT_LE(std::abs(found.dx[i] - dx), error_bound<E>(v, size))
          << x[i] << ": " << found.dx[i] << ", " << to_string(isa);
    }
  }
}

template <class E>
class GeluKernel : public ::testing::Test {};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(GeluKernel, Elements);

TYPED_TEST(GeluKernel, EqualsErfc) {
  using E = TypeParam;
  Values x = random_row(1, 20'000, 3);
  for (int i = -4000; i <= 4000; ++i) x.push_back(i / 200.0);
  for (int i = -40; i <= 7; ++i) {
    for (const double sign : {-1, 1}) x.push_back(sign * std::exp2(i));
  }
  expect_exact<E>(loaded(stored<E>(x)));
}

TEST(GeluKernelAlone, EveryBf16IsWithinOneUnitOfTheRoundedValue) {
  std::vector<Bf16> x;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Bf16 value{static_cast<std::uint16_t>(bits)};
    if (std::isfinite(load_value(value))) x.push_back(value);
  }
  // Beside the zero of the derivative its relative error has no bound.
  expect_exact<Bf16>(loaded(x));
  std::vector<Bf16> y(x.size());
  for (const Isa isa : available_isas()) {
    kernels::gelu_kernels.row<Bf16>(isa).forward(nullptr,
                                                 x.data(),
                                                 y.data(),
                                                 x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double v = load_value(x[i]);
      const Bf16 exact = kernels::to_bf16(static_cast<float>(v * below(v)));
      // AVX512-BF16 stores denormals as zeros.
      if (std::abs(load_value(exact)) < 0x1p-125) continue;
      ASSERT_LE(std::abs(exact.bits - y[i].bits), 1)
          << v << ", " << to_string(isa);
    }
  }
}

// As −∞ · 0 is: an overflow before it is seen.
TYPED_TEST(GeluKernel, NotFiniteValues) {
  using E = TypeParam;
  const Values x{kNan, kInfinity, -kInfinity, 1, -0.0, 0.0};
  for (const Isa isa : available_isas()) {
    // In blocks of lanes and in what is left.
    for (const std::size_t copies : {1, 16}) {
      Values many;
      for (std::size_t i = 0; i < copies; ++i) {
        many.insert(many.end(), x.begin(), x.end());
      }
      const Results found = run<E>(isa, many, Values(many.size(), 1));
      for (std::size_t i = 0; i < many.size(); i += x.size()) {
        EXPECT_TRUE(std::isnan(found.y[i]));
        EXPECT_EQ(found.y[i + 1], kInfinity);
        EXPECT_TRUE(std::isnan(found.y[i + 2]));
        for (std::size_t k = 0; k < 3; ++k) {
          EXPECT_TRUE(std::isnan(found.dx[i + k])) << x[k];
        }
        EXPECT_NEAR(found.y[i + 3], 0.8413447, 2e-3);
        EXPECT_EQ(found.y[i + 4], 0);
        EXPECT_TRUE(std::signbit(found.y[i + 4]));
        EXPECT_FALSE(std::signbit(found.y[i + 5]));
        EXPECT_EQ(found.dx[i + 4], 0.5);
        EXPECT_EQ(found.dx[i + 5], 0.5);
      }
    }
  }
}

TYPED_TEST(GeluKernel, LargeValuesAreTheIdentityOrZero) {
  using E = TypeParam;
  const double largest = std::is_same_v<E, double> ? 1e308 : 3e38;
  Values x;
  for (const double v : {40.0, 1e3, 1e10, 1e19, 1e30, largest}) {
    x.insert(x.end(), {v, -v});
  }
  x = loaded(stored<E>(x));
  for (const Isa isa : available_isas()) {
    const Results found = run<E>(isa, x, Values(x.size(), 2));
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(found.y[i], x[i] > 0 ? x[i] : 0) << x[i];
      EXPECT_EQ(found.dx[i], x[i] > 0 ? 2 : 0) << x[i];
    }
  }
}

TYPED_TEST(GeluKernel, AnyCountWritesWhatItShouldAlone) {
  using E = TypeParam;
  const Values x = random_row(5, 1000, 2), dy = random_row(6, 1000, 1);
  const auto in = stored<E>(x), grad = stored<E>(dy);
  for (const Isa isa : available_isas()) {
    const Results whole = run<E>(isa, x, dy);
    for (const std::int64_t count : {0, 1, 7, 8, 15, 16, 17, 33, 999}) {
      const auto room = stored<E>(Values(count + 8, 77));
      auto y = room, again = room, dx = room;
      kernels::gelu_kernels.row<E>(isa).forward(nullptr,
                                                in.data(),
                                                y.data(),
                                                count);
      kernels::gelu_kernels.row<E>(isa).backward(nullptr,
                                                 in.data(),
                                                 grad.data(),
                                                 dx.data(),
                                                 again.data(),
                                                 count);
      for (std::int64_t i = 0; i < count + 8; ++i) {
        const bool inside = i < count;
        ASSERT_EQ(load_value(y[i]), inside ? whole.y[i] : 77) << count;
        ASSERT_EQ(load_value(again[i]), inside ? whole.y[i] : 77) << count;
        ASSERT_EQ(load_value(dx[i]), inside ? whole.dx[i] : 77)
            << i << " of " << count << ", " << to_string(isa);
      }
    }
  }
}

TEST(GeluKernelAlone, GradientEqualsFiniteDifferences) {
  const Values x = random_row(7, 500, 2), dy = random_row(8, 500, 1);
  constexpr double kStep = 1e-5;
  for (const Isa isa : available_isas()) {
    Values above = x, beneath = x;
    for (double& v : above) v += kStep;
    for (double& v : beneath) v -= kStep;
    const Values dx = run<double>(isa, x, dy).dx;
    const Values up = run<double>(isa, above, dy).y;
    const Values down = run<double>(isa, beneath, dy).y;
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(dx[i], dy[i] * (up[i] - down[i]) / (2 * kStep), 1e-9) << x[i];
    }
  }
}

}  // namespace
}  // namespace mumoe::testing
