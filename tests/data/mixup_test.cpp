#include "data/mixup.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <vector>

#include "tests/data/counted_samples.h"
#include "tests/support/errors.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using Numbers = std::vector<std::uint64_t>;

constexpr std::int64_t kClasses = 5;

/// Two pixels, which say the index, and a label.
class Pictures final : public Samples {
 public:
  std::uint64_t size() const override { return 100; }
  std::int64_t targets_per_sample() const override { return 1; }
  HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<float> input;
    std::vector<std::int32_t> labels;
    for (const std::uint64_t index : indices) {
      const auto x = static_cast<float>(index);
      input.insert(input.end(), {x, -x});
      labels.push_back(static_cast<std::int32_t>(index % kClasses));
      ++made_;
    }
    return {static_cast<std::int64_t>(indices.size()), input, labels};
  }
  int made() const { return made_; }

 private:
  mutable std::atomic<int> made_ = 0;
};

TEST(MixUp, BlendsNeighboursAndTheirLabels) {
  const Pictures pictures;
  const Order order(3, pictures.size());
  const MixUp mixup(pictures, order, kClasses, 0.5, 8);
  const Numbers numbers{12, 13, 7};
  const HostBatch batch = mixup.make(numbers);
  const auto& input = std::get<std::vector<float>>(batch.input);
  const auto& target = std::get<std::vector<float>>(batch.target);
  ASSERT_EQ(input.size(), 6u);
  ASSERT_EQ(target.size(), 3u * kClasses);
  for (std::size_t row = 0; row < numbers.size(); ++row) {
    const auto own = order.index(numbers[row]);
    const auto other = order.index(numbers[row] ^ 1);
    const double share = mixup.weight(numbers[row] / 2);
    const double x = share * static_cast<double>(own) +
                     (1 - share) * static_cast<double>(other);
    EXPECT_NEAR(input[2 * row], x, 1e-4);
    EXPECT_NEAR(input[2 * row + 1], -x, 1e-4);
    std::vector<double> expected(kClasses, 0.0);
    expected[own % kClasses] += share;
    expected[other % kClasses] += 1 - share;
    for (std::int64_t c = 0; c < kClasses; ++c) {
      EXPECT_NEAR(target[row * kClasses + c], expected[c], 1e-6);
    }
    EXPECT_EQ(batch.indices[row], own);
  }
  EXPECT_EQ(batch.numbers, numbers);
  EXPECT_EQ(pictures.made(), 4) << "12, 13, 7 and its partner 6, once each";
}

TEST(MixUp, ASampleDoesNotDependOnItsBatch) {
  const Pictures pictures;
  const Order order(3, pictures.size());
  const MixUp mixup(pictures, order, kClasses, 0.5, 8);
  const HostBatch all = mixup.make(Numbers{4, 5, 6, 7, 8, 9});
  const auto& whole = std::get<std::vector<float>>(all.input);
  for (std::uint64_t number = 4; number < 10; ++number) {
    const HostBatch one = mixup.make(Numbers{number});
    const auto& alone = std::get<std::vector<float>>(one.input);
    EXPECT_EQ(alone[0], whole[2 * (number - 4)]);
  }
}

TEST(MixUp, WeightsAreFromTheBetaDistribution) {
  const Pictures pictures;
  const Order order(3, pictures.size());
  constexpr int kPairs = 20000;
  for (const double alpha : {0.2, 0.5, 1.0, 4.0}) {
    const MixUp mixup(pictures, order, kClasses, alpha, 8);
    double sum = 0, squares = 0, fourths = 0;
    for (int pair = 0; pair < kPairs; ++pair) {
      const double x = mixup.weight(pair);
      ASSERT_GE(x, 0);
      ASSERT_LE(x, 1);
      sum += x - 0.5;
      squares += (x - 0.5) * (x - 0.5);
      fourths += std::pow(x - 0.5, 4);
    }
    // Beta(a, a): mean 1/2, variance v = 1 / (4 (2a + 1)), kurtosis
    // 3 − 6 / (2a + 3); bounds of five standard deviations.
    const double v = 1 / (4 * (2 * alpha + 1));
    const double fourth = (3 - 6 / (2 * alpha + 3)) * v * v;
    EXPECT_NEAR(sum / kPairs, 0, 5 * std::sqrt(v / kPairs)) << alpha;
    EXPECT_NEAR(squares / kPairs, v, 5 * std::sqrt((fourth - v * v) / kPairs))
        << alpha;
    EXPECT_NEAR(fourths / kPairs, fourth, 0.05 * fourth) << alpha;
  }
}

TEST(MixUp, SmallAlphasBlendNothing) {
  const Pictures pictures;
  const Order order(3, pictures.size());
  const MixUp mixup(pictures, order, kClasses, 1e-4, 8);
  for (int pair = 0; pair < 200; ++pair) {
    const double x = mixup.weight(pair);
    EXPECT_TRUE(x < 1e-3 || x > 1 - 1e-3) << x;
  }
}

TEST(MixUp, RefusesWhatHasNoLabels) {
  const testing::CountedSamples tokens(10, 3);
  const Order order(3, 10);
  expect_input_error([&] { MixUp(tokens, order, 5, 0, 1); },
                     {"data.mixup = 0"});
  const MixUp mixup(tokens, order, 5, 0.5, 1);
  expect_input_error([&] { mixup.make(Numbers{1}); }, {"data.mixup = 0.5"});
}

}  // namespace
}  // namespace mumoe::data
