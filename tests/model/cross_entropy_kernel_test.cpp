// The GPU's cross-entropy on the CPU: the .cu file, compiled by g++, against a
// loop in double.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "tests/fakes/cuda_emulation.h"
// After the emulation.
#include "model/kernels/cross_entropy.cu"

namespace mumoe::model {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class E>
E stored(double value) {
  E result;
  store_value(result, static_cast<Compute<E>>(value));
  return result;
}

/// Rounding of a stored value, and of sums in the type that computes.
template <class E>
constexpr double kRounding = 1e-14;
template <>
constexpr double kRounding<float> = 1e-6;
template <>
constexpr double kRounding<Bf16> = 1.0 / 256;
template <class E>
constexpr double kSum = sizeof(Compute<E>) == 8 ? 1e-14 : 2e-6;

struct Size {
  std::int64_t rows = 3;
  std::int64_t columns = 1;
  std::int64_t gap = 0;     ///< Between rows.
  std::int64_t offset = 0;  ///< Of the first value from 16 bytes.
  std::int64_t first = 0;   ///< Target of column 0.
};

/// A matrix, what lies between its rows, and what lies around it.
template <class E>
struct Chunk {
  static constexpr int kAround = 32;

  Chunk(const Size& size, double spread) : size(size) {
    const CounterRandom random(5, Purpose::test, size.columns);
    const std::int64_t stride = size.columns + size.gap;
    memory.assign(size.rows * stride + size.offset + 2 * kAround, guard());
    for (std::int64_t i = 0; i < size.rows; ++i) {
      for (std::int64_t j = 0; j < size.columns; ++j) {
        at(i, j) = stored<E>(spread * random.normal(i * size.columns + j));
      }
      // Of these columns, and before and behind them.
      const std::int64_t places[] = {size.columns / 2, -1, size.columns};
      targets.push_back(size.first + places[i % 3]);
    }
  }
  static E guard() { return stored<E>(7); }
  /// Aligned to 16 bytes, but for the offset.
  E* begin() {
    auto at = reinterpret_cast<std::uintptr_t>(memory.data());
    at = (at + 15) / 16 * 16;
    return reinterpret_cast<E*>(at) + 16 / sizeof(E) + size.offset;
  }
  E& at(std::int64_t i, std::int64_t j) {
    return begin()[i * (size.columns + size.gap) + j];
  }
  LogitRows<E> rows() {
    return {.logits = begin(),
            .targets = targets.data(),
            .rows = size.rows,
            .columns = size.columns,
            .stride = size.columns + size.gap,
            .first = size.first};
  }
  /// Values outside of the matrix are as they were.
  void expect_guards() {
    std::vector<bool> inside(memory.size());
    for (std::int64_t i = 0; i < size.rows; ++i) {
      for (std::int64_t j = 0; j < size.columns; ++j) {
        inside[&at(i, j) - memory.data()] = true;
      }
    }
    for (std::size_t i = 0; i < memory.size(); ++i) {
      if (inside[i]) continue;
      ASSERT_EQ(load_value(memory[i]), 7) << i;
    }
  }

  Size size;
  std::vector<E> memory;
  std::vector<std::int64_t> targets;
};

/// Of one row, in double.
struct Expected {
  double lse = 0;
  double target = 0;
  std::vector<double> probabilities;
  std::int64_t place = -1;
};
template <class E>
Expected expected_of(Chunk<E>& chunk, std::int64_t i) {
  Expected e;
  double top = -kInfinity, sum = 0;
  const std::int64_t columns = chunk.size.columns;
  for (std::int64_t j = 0; j < columns; ++j) {
    top = std::max<double>(top, load_value(chunk.at(i, j)));
  }
  for (std::int64_t j = 0; j < columns; ++j) {
    sum += std::exp(load_value(chunk.at(i, j)) - top);
  }
  e.lse = top + std::log(sum);
  for (std::int64_t j = 0; j < columns; ++j) {
    e.probabilities.push_back(std::exp(load_value(chunk.at(i, j)) - e.lse));
  }
  const std::int64_t place = chunk.targets[i] - chunk.size.first;
  if (place >= 0 && place < columns) {
    e.place = place;
    e.target = load_value(chunk.at(i, place));
  }
  return e;
}

constexpr double kScale = 0.375;

template <class E>
void expect_gradient(Chunk<E>& chunk,
                     std::int64_t i,
                     const Expected& e,
                     double shift) {
  for (std::int64_t j = 0; j < chunk.size.columns; ++j) {
    const double d = kScale * (e.probabilities[j] * std::exp(-shift) -
                               (j == e.place ? 1 : 0));
    ASSERT_NEAR(load_value(chunk.at(i, j)),
                d,
                kRounding<E> * std::abs(d) + 4 * kSum<E> * kScale)
        << "row " << i << ", column " << j;
  }
}

template <class E>
void expect_oracle(const Size& size) {
  const auto& kernel = cuda::cross_entropy_row.of<E>();
  Chunk<E> chunk(size, 3);
  std::vector<Expected> expected;
  for (std::int64_t i = 0; i < size.rows; ++i) {
    expected.push_back(expected_of(chunk, i));
  }
  Chunk<E> fused = chunk;
  const auto memory = chunk.memory;

  std::vector<double> found(2 * size.rows, -1), again(2 * size.rows, -1);
  kernel.statistics(nullptr, chunk.rows(), found.data());
  chunk.expect_guards();
  fused.targets = chunk.targets;
  kernel.statistics_and_gradient(nullptr, fused.rows(), again.data(), kScale);
  fused.expect_guards();
  EXPECT_EQ(found, again);
  // Other ranks' columns weigh as much as these: half the probability.
  const double shift = std::log(2.0);
  std::vector<double> lse;
  for (std::int64_t i = 0; i < size.rows; ++i) {
    const double tolerance = kSum<E> * (1 + std::abs(expected[i].lse));
    ASSERT_NEAR(found[2 * i], expected[i].lse, tolerance);
    ASSERT_EQ(found[2 * i + 1], expected[i].target);
    expect_gradient(fused, i, expected[i], 0);
    lse.push_back(expected[i].lse + shift);
  }
  kernel.gradient(nullptr, chunk.rows(), lse.data(), kScale);
  chunk.expect_guards();
  for (std::int64_t i = 0; i < size.rows; ++i) {
    expect_gradient(chunk, i, expected[i], shift);
  }
}

template <class E>
class CrossEntropyCudaEmulated : public ::testing::Test {};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(CrossEntropyCudaEmulated, Elements);

TYPED_TEST(CrossEntropyCudaEmulated, AnyWidth) {
  for (const std::int64_t columns : {1, 2, 7, 8, 9, 511, 513, 4096, 5003}) {
    expect_oracle<TypeParam>({.columns = columns});
  }
}

TYPED_TEST(CrossEntropyCudaEmulated, RowsApartAndOneRow) {
  // Aligned rows with some columns left over, and rows of any address.
  expect_oracle<TypeParam>({.columns = 1003, .gap = 5});
  expect_oracle<TypeParam>({.columns = 1003, .gap = 4});
  expect_oracle<TypeParam>({.rows = 1, .columns = 777, .gap = 3});
}

TYPED_TEST(CrossEntropyCudaEmulated, UnalignedAndOtherRanksTargets) {
  expect_oracle<TypeParam>({.columns = 1000, .offset = 1});
  expect_oracle<TypeParam>({.columns = 96, .offset = 3, .first = 50000});
}

TYPED_TEST(CrossEntropyCudaEmulated, NoRows) {
  expect_oracle<TypeParam>({.rows = 0, .columns = 8});
}

/// Loss and gradient of one row with `value` in it.
template <class E>
std::pair<double, std::vector<double>> with_value(double value,
                                                  std::int64_t column,
                                                  bool all = false) {
  Chunk<E> chunk({.rows = 1, .columns = 600}, 1);
  for (std::int64_t j = 0; j < 600; ++j) {
    if (all || j == column) chunk.at(0, j) = stored<E>(value);
  }
  double found[2];
  cuda::cross_entropy_row.of<E>().statistics_and_gradient(nullptr,
                                                          chunk.rows(),
                                                          found,
                                                          kScale);
  std::vector<double> gradient;
  for (std::int64_t j = 0; j < 600; ++j) {
    gradient.push_back(load_value(chunk.at(0, j)));
  }
  return {found[0] - found[1], gradient};
}

TYPED_TEST(CrossEntropyCudaEmulated, NotFinite) {
  for (const double value : {kNaN, kInfinity}) {
    for (const std::int64_t column : {0, 299, 599}) {
      const auto [loss, gradient] = with_value<TypeParam>(value, column);
      EXPECT_TRUE(std::isnan(loss)) << value << " at " << column;
      for (const double d : gradient) ASSERT_TRUE(std::isnan(d));
    }
  }
  const auto [loss, gradient] = with_value<TypeParam>(-kInfinity, 0, true);
  EXPECT_TRUE(std::isnan(loss));
  for (const double d : gradient) ASSERT_TRUE(std::isnan(d));
}

TYPED_TEST(CrossEntropyCudaEmulated, MaskedLogitsWeighNothing) {
  for (const std::int64_t column : {0, 8, 599}) {
    const auto [loss, gradient] = with_value<TypeParam>(-kInfinity, column);
    EXPECT_TRUE(std::isfinite(loss));
    EXPECT_EQ(gradient[column], 0);
    EXPECT_GT(gradient[1], 0);
  }
}

TYPED_TEST(CrossEntropyCudaEmulated, LargeLogitsDoNotOverflow) {
  const double most = 1 << 15;
  const auto [loss, gradient] = with_value<TypeParam>(most, 7);
  EXPECT_GT(loss, most / 2);
  EXPECT_NEAR(gradient[7], kScale, 1e-3);
  const auto [low, even] = with_value<TypeParam>(-most, 0, true);
  EXPECT_NEAR(low, std::log(600.0), 1e-5);
  EXPECT_NEAR(even[0], kScale / 600, 1e-5);
}

}  // namespace
}  // namespace mumoe::model
