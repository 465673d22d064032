#include "base/random.h"

#include <gtest/gtest.h>

namespace mumoe {
namespace {

TEST(CounterRandom, EqualsThePublishedPhiloxVectors) {
  // Known answers of Philox4x32-10 (Random123, kat_vectors): all zero, and all
  // ones in counter and key.
  using Block = std::array<std::uint32_t, 4>;
  const CounterRandom zero(0, static_cast<Purpose>(0), 0);
  EXPECT_EQ(zero.bits(0),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const CounterRandom ones(~0ull, static_cast<Purpose>(0), ~0ull);
  EXPECT_EQ(ones.bits(~0ull),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(CounterRandom, PurposesStreamsAndSeedsAreDifferentSequences) {
  const CounterRandom base(1, Purpose::test, 7);
  for (const auto& other : {CounterRandom(2, Purpose::test, 7),
                            CounterRandom(1, Purpose::test, 8),
                            CounterRandom(1, Purpose::sample_order, 7)}) {
    EXPECT_NE(base.bits(0), other.bits(0));
  }
}

TEST(CounterRandom, MomentsAreThoseOfTheDistributions) {
  const CounterRandom random(3, Purpose::test);
  constexpr int kCount = 200000;
  double uniform_sum = 0, normal_sum = 0, normal_square = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = random.uniform(i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    const double z = random.normal(i);
    uniform_sum += u;
    normal_sum += z;
    normal_square += z * z;
    ASSERT_LT(random.below(i, 10), 10u);
  }
  // Five standard errors of each estimate.
  EXPECT_NEAR(uniform_sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(normal_sum / kCount, 0.0, 5 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(normal_square / kCount, 1.0, 5 * std::sqrt(2.0 / kCount));
}

}  // namespace
}  // namespace mumoe
