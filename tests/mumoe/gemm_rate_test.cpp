#include "mumoe/gemm_rate.h"

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
