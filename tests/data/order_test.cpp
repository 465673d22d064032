#include "data/order.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "tests/support/errors.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;

using Items = std::vector<std::uint64_t>;

Items epoch_of(const Order& order, std::uint64_t epoch) {
  Items items(order.size());
  for (std::uint64_t i = 0; i < items.size(); ++i) {
    items[i] = order.item(epoch * order.size() + i);
  }
  return items;
}

TEST(Order, EveryEpochIsAPermutation) {
  Items sizes(200);
  std::iota(sizes.begin(), sizes.end(), 1);
  sizes.insert(sizes.end(), {1000, 65536, 65537});
  for (const std::uint64_t size : sizes) {
    const Order order(42, size);
    for (const std::uint64_t epoch : {0, 1, 1000000}) {
      Items items = epoch_of(order, epoch);
      std::ranges::sort(items);
      for (std::uint64_t i = 0; i < size; ++i) {
        ASSERT_EQ(items[i], i) << "size " << size << ", epoch " << epoch;
      }
    }
  }
}

TEST(Order, SeedsAndEpochsAreOtherOrders) {
  const Order order(1, 1000);
  EXPECT_NE(epoch_of(order, 0), epoch_of(order, 1));
  EXPECT_NE(epoch_of(order, 0), epoch_of(Order(2, 1000), 0));
}

TEST(Order, IsAPureFunctionOfSeedAndSample) {
  const Order one(9, 12345);
  const Order other(9, 12345);
  for (std::uint64_t sample = 50000; sample-- > 49000;) {
    ASSERT_EQ(one.item(sample), other.item(sample));
  }
}

TEST(Order, OrdersAreStoredBehaviour) {
  // A change here changes the samples of every run and every resumed one.
  const Order order(1, 10);
  EXPECT_EQ(epoch_of(order, 0), (Items{9, 6, 7, 4, 0, 2, 8, 5, 1, 3}));
}

TEST(Order, EveryOrderOfThreeIsAsLikelyAsAnother) {
  constexpr int kEpochs = 6000;
  const Order order(3, 3);
  std::map<Items, int> seen;
  for (int epoch = 0; epoch < kEpochs; ++epoch) ++seen[epoch_of(order, epoch)];
  EXPECT_EQ(seen.size(), 6u);
  // Five standard deviations of a binomial count.
  const double sigma = std::sqrt(kEpochs * (1.0 / 6) * (5.0 / 6));
  for (const auto& [items, count] : seen) {
    EXPECT_NEAR(count, kEpochs / 6.0, 5 * sigma);
  }
}

TEST(Order, NeighboursAreScattered) {
  constexpr std::uint64_t kSize = 10000;
  const Items items = epoch_of(Order(5, kSize), 0);
  double mean_step = 0;
  for (std::size_t i = 1; i < items.size(); ++i) {
    mean_step += std::abs(static_cast<double>(items[i]) -
                          static_cast<double>(items[i - 1]));
  }
  mean_step /= kSize - 1;
  // Of two uniform numbers the mean distance is a third of the range, with a
  // standard deviation of 0.236 of it.
  EXPECT_NEAR(mean_step / kSize, 1.0 / 3, 5 * 0.236 / std::sqrt(kSize));
}

TEST(Order, HugeSizesWork) {
  const std::uint64_t size = (1ull << 61) + 12345;
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint64_t item = permute(1, 0, size, size - 1 - i);
    EXPECT_LT(item, size);
    EXPECT_TRUE(seen.insert(item).second);
  }
}

TEST(Order, NoItemsIsAnError) {
  expect_input_error([] { Order(1, 0); }, {"0 items"});
}

TEST(Order, AnIndexHasTheEpochInIt) {
  const Order order(4, 100);
  for (const std::uint64_t sample : {0, 99, 100, 12345}) {
    EXPECT_EQ(order.index(sample) / 100, sample / 100);
    EXPECT_EQ(order.index(sample) % 100, order.item(sample));
  }
}

TEST(EvaluationSamples, AreEvenlySpacedAndAllWhereTheyAreFewer) {
  EXPECT_EQ(evaluation_samples(10, 5), (Items{0, 2, 4, 6, 8}));
  EXPECT_EQ(evaluation_samples(3, 3), (Items{0, 1, 2}));
  EXPECT_EQ(evaluation_samples(2, 99), (Items{0, 1}));
  expect_input_error([] { evaluation_samples(100, 0); }, {"0 evaluation"});
}

}  // namespace
}  // namespace mumoe::data
