// The GPU's layer norm on the CPU: the .cu file, compiled by g++, against a
// loop in double.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "base/random.h"
#include "tests/fakes/cuda_emulation.h"
// After the emulation.
#include "mumoe/kernels/norm.cu"

namespace mumoe::testing {
namespace {

using kernels::Bf16;
using kernels::Compute;
using kernels::load_value;

/// An array behind `offset` values from a boundary, and whether anything was
/// written beside it.
template <class V>
class Array {
 public:
  Array(std::int64_t count, int offset)
      : count_(count), begin_(kAround + offset) {
    memory_.resize(count + begin_ + kAround);
    std::memset(memory_.data(), 0x5a, memory_.size() * sizeof(V));
    guard_ = memory_[0];
  }
  V* data() {
    const auto at = reinterpret_cast<std::uintptr_t>(memory_.data());
    const std::size_t skipped = (64 - at % 64) % 64 / sizeof(V);
    return memory_.data() + skipped + begin_;
  }
  double operator[](std::int64_t i) { return load_value(data()[i]); }
  void set(std::int64_t i, double value) {
    kernels::store_value(data()[i], static_cast<Compute<V>>(value));
  }
  void expect_guards() {
    for (V* v = memory_.data(); v != memory_.data() + memory_.size(); ++v) {
      if (v >= data() && v < data() + count_) continue;
      ASSERT_EQ(std::memcmp(v, &guard_, sizeof(V)), 0) << "beside an array";
    }
  }

 private:
  static constexpr int kAround = 64;
  std::int64_t count_;
  int begin_;
  std::vector<V> memory_;
  V guard_;
};

struct Size {
  std::int64_t rows = 3;
  std::int64_t width = 1;
  int offset = 0;
  /// y, b, s and s rounded, and their gradients: all, or none.
  bool all = true;
  /// Gradients of weights are added to what is there.
  bool adds = false;
};

template <class E>
constexpr double kRounding = 1e-13;
template <>
constexpr double kRounding<float> = 2e-6;
template <>
constexpr double kRounding<Bf16> = 1.0 / 256;
template <class E>
constexpr double kSum = sizeof(Compute<E>) == 8 ? 1e-12 : 2e-5;

template <class E>
struct Case {
  using T = Compute<E>;
  Size size;
  std::int64_t count = size.rows * size.width;
  Array<T> x{count, size.offset}, weight{size.width, size.offset},
      bias{size.width, size.offset}, sum{count, size.offset},
      mean{size.rows, 0}, rstd{size.rows, 0}, grad_sum{count, size.offset},
      grad_x{count, size.offset}, grad_weight{size.width, size.offset},
      grad_bias{size.width, size.offset},
      partial{kernels::norm_partial_sums(size.rows, size.width), size.offset};
  Array<E> y{count, size.offset}, rounded{count, size.offset},
      result{count, size.offset}, grad_result{count, size.offset},
      grad_rounded{count, size.offset}, grad_y{count, size.offset};

  explicit Case(const Size& given) : size(given) {
    std::uint64_t stream = 0;
    const auto draw = [&](auto& array, std::int64_t n, double around) {
      const CounterRandom random(3, Purpose::test, ++stream);
      for (std::int64_t i = 0; i < n; ++i) {
        array.set(i, around + random.normal(i));
      }
    };
    draw(x, count, 2);
    draw(y, count, 0);
    draw(weight, size.width, 1);
    draw(bias, size.width, 0);
    draw(grad_result, count, 0);
    draw(grad_sum, count, 0);
    draw(grad_rounded, count, 0);
    draw(grad_weight, size.width, 0);
    draw(grad_bias, size.width, 0);
  }

  template <class V>
  V* if_all(Array<V>& array) {
    return size.all ? array.data() : nullptr;
  }
  void run() {
    const auto& kernel = kernels::cuda::norm_row.of<E>();
    kernel.forward(nullptr,
                   {.x = x.data(),
                    .addend = if_all(y),
                    .weight = weight.data(),
                    .bias = if_all(bias),
                    .rows = size.rows,
                    .width = size.width,
                    .sum = if_all(sum),
                    .rounded = if_all(rounded),
                    .result = result.data(),
                    .mean = mean.data(),
                    .rstd = rstd.data()});
    kernel.backward(nullptr,
                    {.sum = size.all ? sum.data() : x.data(),
                     .mean = mean.data(),
                     .rstd = rstd.data(),
                     .weight = weight.data(),
                     .grad_result = grad_result.data(),
                     .grad_sum = if_all(grad_sum),
                     .grad_rounded = if_all(grad_rounded),
                     .rows = size.rows,
                     .width = size.width,
                     .grad_x = grad_x.data(),
                     .grad_addend = if_all(grad_y),
                     .grad_weight = grad_weight.data(),
                     .grad_bias = if_all(grad_bias),
                     .add_weight = size.adds,
                     .add_bias = size.adds,
                     .partial = partial.data()});
    for (auto* array : {&x,
                        &weight,
                        &bias,
                        &sum,
                        &mean,
                        &rstd,
                        &grad_sum,
                        &grad_x,
                        &grad_weight,
                        &grad_bias,
                        &partial}) {
      array->expect_guards();
    }
    for (auto* array :
         {&y, &rounded, &result, &grad_result, &grad_rounded, &grad_y}) {
      array->expect_guards();
    }
  }
};

/// |found − expected| within rounding of the type it is stored in and of sums.
template <class V, class E>
void expect_near(double found, double expected, const char* what) {
  ASSERT_NEAR(
      found,
      expected,
      kRounding<V> * std::abs(expected) + kSum<E> * (1 + std::abs(expected)))
      << what;
}

template <class E>
void expect_oracle(const Size& size) {
  using T = Compute<E>;
  SCOPED_TRACE(::testing::Message()
               << size.rows << " x " << size.width << " + " << size.offset
               << (size.all ? ", all" : "") << (size.adds ? ", added" : ""));
  Case<E> c(size);
  const std::int64_t width = size.width;
  std::vector<double> dw(width), db(width), before_w(width), before_b(width);
  for (std::int64_t j = 0; j < width; ++j) {
    before_w[j] = size.adds ? c.grad_weight[j] : 0;
    before_b[j] = size.adds ? c.grad_bias[j] : 0;
  }
  c.run();
  for (std::int64_t i = 0; i < size.rows; ++i) {
    const std::int64_t at = i * width;
    std::vector<double> s(width);
    double mean = 0, variance = 0, mean_g = 0, slope = 0;
    for (std::int64_t j = 0; j < width; ++j) {
      s[j] = c.x[at + j] + (size.all ? c.y[at + j] : 0);
      mean += s[j] / width;
    }
    for (const double v : s) variance += (v - mean) * (v - mean) / width;
    const double rstd = 1 / std::sqrt(variance + 1e-5);
    expect_near<T, E>(c.mean[i], mean, "mean");
    expect_near<T, E>(c.rstd[i], rstd, "rstd");
    for (std::int64_t j = 0; j < width; ++j) {
      const double hat = (s[j] - mean) * rstd, dz = c.grad_result[at + j];
      expect_near<E, E>(c.result[at + j],
                        hat * c.weight[j] + (size.all ? c.bias[j] : 0),
                        "z");
      mean_g += dz * c.weight[j] / width;
      slope += dz * c.weight[j] * hat / width;
      dw[j] += dz * hat;
      db[j] += dz;
      if (!size.all) continue;
      expect_near<T, E>(c.sum[at + j], s[j], "s");
      expect_near<E, E>(c.rounded[at + j], s[j], "s rounded");
    }
    for (std::int64_t j = 0; j < width; ++j) {
      const double hat = (s[j] - mean) * rstd;
      double ds =
          rstd * (c.grad_result[at + j] * c.weight[j] - mean_g - hat * slope);
      if (size.all) ds += c.grad_sum[at + j] + c.grad_rounded[at + j];
      // Two columns that are nearly equal multiply what rounding leaves.
      const double scale = std::max(1.0, rstd / 8);
      ASSERT_NEAR(c.grad_x[at + j],
                  ds,
                  4 * kSum<E> * scale * (1 + std::abs(ds)));
      if (size.all) {
        ASSERT_NEAR(c.grad_y[at + j],
                    ds,
                    kRounding<E> * std::abs(ds) +
                        4 * kSum<E> * scale * (1 + std::abs(ds)));
      }
    }
  }
  for (std::int64_t j = 0; j < width; ++j) {
    ASSERT_NEAR(c.grad_weight[j],
                before_w[j] + dw[j],
                kSum<E> * (1 + size.rows));
    if (size.all) {
      ASSERT_NEAR(c.grad_bias[j],
                  before_b[j] + db[j],
                  kSum<E> * (1 + size.rows));
    }
  }
}

template <class E>
class NormCudaEmulated : public ::testing::Test {};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(NormCudaEmulated, Elements);

TYPED_TEST(NormCudaEmulated, AnyWidth) {
  for (const std::int64_t width : {1, 2, 7, 8, 23, 96, 768, 1023, 1024}) {
    for (const bool all : {true, false}) {
      expect_oracle<TypeParam>({.width = width, .all = all});
    }
  }
}

TYPED_TEST(NormCudaEmulated, WideRows) {
  const std::int64_t widest = kernels::kNormWidth<TypeParam>;
  for (const std::int64_t width : {std::int64_t{1025}, widest - 1, widest}) {
    expect_oracle<TypeParam>({.rows = 2, .width = width});
  }
}

TYPED_TEST(NormCudaEmulated, AnyNumberOfRows) {
  for (const std::int64_t rows : {0, 1, 31, 32, 33, 300}) {
    for (const bool adds : {false, true}) {
      expect_oracle<TypeParam>({.rows = rows, .width = 24, .adds = adds});
    }
  }
}

TYPED_TEST(NormCudaEmulated, UnalignedArrays) {
  for (const int offset : {1, 4}) {
    expect_oracle<TypeParam>({.width = 64, .offset = offset});
  }
}

TYPED_TEST(NormCudaEmulated, RowsWithWhatIsNotFiniteAreNaN) {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
    Case<TypeParam> c({.rows = 3, .width = 40, .all = false});
    c.x.set(40 + 7, value);
    c.run();
    for (std::int64_t j = 0; j < 40; ++j) {
      ASSERT_TRUE(std::isfinite(c.result[j]));
      ASSERT_TRUE(std::isnan(c.result[40 + j])) << value << " " << j;
      ASSERT_TRUE(std::isnan(c.grad_x[40 + j])) << value << " " << j;
      ASSERT_TRUE(std::isfinite(c.grad_x[80 + j]));
      ASSERT_TRUE(std::isnan(c.grad_weight[j]));
    }
  }
}

TYPED_TEST(NormCudaEmulated, WiderRowsAreRefused) {
  const kernels::NormForward<TypeParam> norm{
      .rows = 1,
      .width = kernels::kNormWidth<TypeParam> + 1};
  EXPECT_THROW(kernels::cuda::norm_row.of<TypeParam>().forward(nullptr, norm),
               InternalError);
}

}  // namespace
}  // namespace mumoe::testing
