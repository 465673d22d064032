#include "mumoe/gemm_rate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mumoe {
namespace {

using namespace std::chrono_literals;

TEST(GemmRate, EachWayHasOne) {
  const std::vector<GemmWay> ways = {{at::kFloat, GemmLibrary::mkl},
                                     {at::kDouble, GemmLibrary::mkl},
                                     {at::kBFloat16, GemmLibrary::onednn}};
  const auto rates =
      measure_gemm_rates({{64, 48, 32}, {16, 8, 4}},
                         ways,
                         at::kCPU,
                         {.time = 1ms, .rounds = 3, .pause = 0ms});
  ASSERT_EQ(rates.size(), ways.size());
  for (const GemmRate& rate : rates) {
    EXPECT_GT(rate.overall, 1e5);
    EXPECT_GE(rate.peak, rate.overall);
  }
}

// Of the same products three times, the rate stays what it was: work and time
// both count once for each.
TEST(GemmRate, CountsAllProducts) {
  const Product product{96, 96, 96};
  EXPECT_EQ(product.flops(), 6.0 * 96 * 96 * 96);
  const auto rate = [](const std::vector<Product>& products) {
    return measure_gemm_rates(products,
                              {{at::kDouble, GemmLibrary::mkl}},
                              at::kCPU,
                              {.rounds = 40, .pause = 0ms})[0]
        .overall;
  };
  const double ratio = rate({product, product, product}) / rate({product});
  EXPECT_GT(ratio, 0.3);
  EXPECT_LT(ratio, 3);
}

// A GPU multiplies equal numbers faster than those of a run.
TEST(GemmRate, OperandsAreRandomNumbers) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const at::Tensor x = random_operand(700, 1100, dtype, at::kCPU);
    EXPECT_EQ(x.sizes(), (std::vector<std::int64_t>{700, 1100}));
    EXPECT_EQ(x.scalar_type(), dtype);
    EXPECT_TRUE(x.is_contiguous());
    const at::Tensor wide = x.to(at::kDouble);
    EXPECT_NEAR(wide.mean().item<double>(), 0, 0.01);
    EXPECT_NEAR(wide.std().item<double>(), 1, 0.01);
    // Neither rows nor columns repeat.
    EXPECT_NEAR((wide[0] * wide[1]).mean().item<double>(), 0, 0.15);
    EXPECT_NEAR((wide[0] * wide[699]).mean().item<double>(), 0, 0.15);
    EXPECT_TRUE(at::equal(x, random_operand(700, 1100, dtype, at::kCPU)));
  }
  EXPECT_EQ(random_operand(1, 3, at::kFloat, at::kCPU).numel(), 3);
}

TEST(GemmRate, FewerRowsTakeNoMoreThanAllowed) {
  const std::vector<Product> products = {{4096, 256, 512}, {4096, 512, 256}};
  const auto total = [](const std::vector<Product>& of) {
    double sum = 0;
    for (const Product& product : of) sum += product.flops();
    return sum;
  };
  const auto fewer = with_fewer_rows(products, total(products) / 8);
  EXPECT_EQ(fewer[0].m, 512);
  EXPECT_EQ(fewer[1].k, 512);
  EXPECT_EQ(with_fewer_rows(products, 1)[0].m, 128);
  EXPECT_EQ(with_fewer_rows(products, 1e30)[0].m, 4096);
  EXPECT_EQ(with_fewer_rows({{3, 8, 8}}, 1)[0].m, 3);
}

}  // namespace
}  // namespace mumoe
