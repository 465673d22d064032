#include "study/report/axis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace mumoe::study {
namespace {

using Texts = std::vector<std::string>;

Texts texts(const AxisRange& range) {
  Texts found;
  for (const Tick& tick : range.ticks) found.push_back(tick.text);
  return found;
}

Texts texts(Scale scale, double low, double high, bool from_zero = false) {
  return texts(axis_range(scale, low, high, from_zero));
}

TEST(Axis, LinearTicksAreRoundAndHoldTheValues) {
  EXPECT_EQ(texts(Scale::linear, 0, 100, true),
            (Texts{"0", "20", "40", "60", "80", "100"}));
  EXPECT_EQ(texts(Scale::linear, 3, 113, true),
            (Texts{"0", "20", "40", "60", "80", "100", "120"}));
  EXPECT_EQ(texts(Scale::linear, 0.21, 0.39),
            (Texts{"0.20", "0.25", "0.30", "0.35", "0.40"}));
  EXPECT_EQ(texts(Scale::linear, -1, 1),
            (Texts{"-1.0", "-0.5", "0", "0.5", "1.0"}));
  EXPECT_EQ(texts(Scale::linear, 0, 41000),
            (Texts{"0", "10k", "20k", "30k", "40k", "50k"}));
  EXPECT_EQ(texts(Scale::linear, 0, 9000),
            (Texts{"0", "2k", "4k", "6k", "8k", "10k"}));
  EXPECT_EQ(texts(Scale::linear, 0, 2900),
            (Texts{"0", "500", "1000", "1500", "2000", "2500", "3000"}));
  EXPECT_EQ(texts(Scale::linear, 0, 2.4e9),
            (Texts{"0", "0.5G", "1.0G", "1.5G", "2.0G", "2.5G"}));
  EXPECT_EQ(
      texts(Scale::linear, 0, 3e-9),
      (Texts{"0", "5e-10", "1e-09", "1.5e-09", "2e-09", "2.5e-09", "3e-09"}));
}

TEST(Axis, LinearRangesOfOneValueReachToZero) {
  const auto positive = axis_range(Scale::linear, 7, 7, false);
  EXPECT_EQ(positive.low, 0);
  EXPECT_GE(positive.high, 7);
  const auto negative = axis_range(Scale::linear, -7, -7, false);
  EXPECT_LE(negative.low, -7);
  EXPECT_EQ(negative.high, 0);
  const auto zero = axis_range(Scale::linear, 0, 0, true);
  EXPECT_EQ(zero.low, 0);
  EXPECT_EQ(zero.high, 1);
  // One value as double sees it at an axis' scale.
  const auto near = axis_range(Scale::linear, 1e9, 1e9 + 1e-6, false);
  EXPECT_EQ(near.low, 0);
}

TEST(Axis, RanksHavePowersOfTwo) {
  EXPECT_EQ(texts(Scale::log2, 1, 4), (Texts{"1", "2", "4"}));
  EXPECT_EQ(texts(Scale::log2, 1, 1), (Texts{"1"}));
  EXPECT_EQ(texts(Scale::log2, 3, 6), (Texts{"4"}));
  EXPECT_EQ(texts(Scale::log2, 8, 4096),
            (Texts{"8", "32", "128", "512", "2048"}));
  const auto range = axis_range(Scale::log2, 1, 4, false);
  EXPECT_LT(range.low, 1);
  EXPECT_GT(range.high, 4);
  EXPECT_DOUBLE_EQ(place(range, 2), 0.5);
}

TEST(Axis, DecadesWithOneTwoAndFiveWhereTheyAreFew) {
  EXPECT_EQ(texts(Scale::log10, 1e2, 1e6),
            (Texts{"100", "1k", "10k", "100k", "1M"}));
  EXPECT_EQ(texts(Scale::log10, 40, 1100),
            (Texts{"50", "100", "200", "500", "1k"}));
  EXPECT_EQ(texts(Scale::log10, 1e-3, 1e9),
            (Texts{"0.001", "0.1", "10", "1k", "100k", "10M", "1G"}));
  // Too narrow for two of those: as a linear axis has them.
  EXPECT_EQ(texts(Scale::log10, 110, 140), (Texts{"110", "120", "130", "140"}));
  const auto one = axis_range(Scale::log10, 30, 30, false);
  EXPECT_DOUBLE_EQ(place(one, 30), 0.5);
  EXPECT_GE(one.ticks.size(), 1u);
}

TEST(Axis, TicksAreWithinAnyRange) {
  const double ends[] = {1e-300, 1e-12, 0.07, 1, 3, 1e5, 1e17, 1e300};
  for (const Scale scale : {Scale::linear, Scale::log10, Scale::log2}) {
    for (const double low : ends) {
      for (const double high : ends) {
        if (low > high || !has_place(scale, low)) continue;
        const auto range = axis_range(scale, low, high, false);
        ASSERT_LT(range.low, range.high);
        ASSERT_TRUE(std::isfinite(range.low) && std::isfinite(range.high));
        EXPECT_GE(place(range, low), 0);
        EXPECT_GE(place(range, high), place(range, low));
        EXPECT_GE(range.ticks.size(), 1u) << low << ' ' << high;
        EXPECT_LE(range.ticks.size(), 13u) << low << ' ' << high;
        for (const Tick& tick : range.ticks) {
          EXPECT_GE(tick.at, range.low * (1 - 1e-9));
          EXPECT_LE(tick.at, range.high * (1 + 1e-9));
        }
      }
    }
  }
}

TEST(Axis, PlacesOfValuesThatHaveNone) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(has_place(Scale::linear, 0));
  EXPECT_TRUE(has_place(Scale::linear, -5));
  EXPECT_FALSE(has_place(Scale::linear, infinity));
  EXPECT_FALSE(has_place(Scale::linear, std::nan("")));
  EXPECT_FALSE(has_place(Scale::linear, -1e301));
  EXPECT_FALSE(has_place(Scale::log10, 0));
  EXPECT_FALSE(has_place(Scale::log2, -1));
  EXPECT_TRUE(has_place(Scale::log10, 1e-9));
  const auto range = axis_range(Scale::log10, 1, 100, false);
  EXPECT_EQ(place(range, 0), 0);
  EXPECT_EQ(place(range, 1e9), 1);
}

TEST(Axis, ShortNumbers) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.25), "0.25");
  EXPECT_EQ(short_number(999.96), "1000");
  EXPECT_EQ(short_number(1500), "1.5k");
  EXPECT_EQ(short_number(-21.5e6), "-21.5M");
  EXPECT_EQ(short_number(3e12), "3T");
  EXPECT_EQ(short_number(2e-7), "2e-07");
}

}  // namespace
}  // namespace mumoe::study
