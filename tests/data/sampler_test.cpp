#include "data/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "data/batch.h"
#include "data/text/token_file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;

using Items = std::vector<std::uint64_t>;

Items epoch_of(const Sampler& sampler, std::uint64_t epoch) {
  Items items(sampler.size());
  for (std::uint64_t i = 0; i < items.size(); ++i) {
    items[i] = sampler.item(epoch * sampler.size() + i);
  }
  return items;
}

TEST(Sampler, EveryEpochIsAPermutation) {
  Items sizes(200);
  std::iota(sizes.begin(), sizes.end(), 1);
  sizes.insert(sizes.end(), {1000, 65536, 65537});
  for (const std::uint64_t size : sizes) {
    const Sampler sampler(42, size);
    for (const std::uint64_t epoch : {0, 1, 1000000}) {
      Items items = epoch_of(sampler, epoch);
      std::ranges::sort(items);
      for (std::uint64_t i = 0; i < size; ++i) {
        ASSERT_EQ(items[i], i) << "size " << size << ", epoch " << epoch;
      }
    }
  }
}

TEST(Sampler, SeedsAndEpochsAreOtherOrders) {
  const Sampler sampler(1, 1000);
  EXPECT_NE(epoch_of(sampler, 0), epoch_of(sampler, 1));
  EXPECT_NE(epoch_of(sampler, 0), epoch_of(Sampler(2, 1000), 0));
}

TEST(Sampler, IsAPureFunctionOfSeedAndSample) {
  const Sampler one(9, 12345);
  const Sampler other(9, 12345);
  for (std::uint64_t sample = 50000; sample-- > 49000;) {
    ASSERT_EQ(one.item(sample), other.item(sample));
  }
}

TEST(Sampler, OrdersAreStoredBehaviour) {
  // A change here changes the samples of every run and every resumed one.
  const Sampler sampler(1, 10);
  EXPECT_EQ(epoch_of(sampler, 0), (Items{9, 6, 7, 4, 0, 2, 8, 5, 1, 3}));
}

TEST(Sampler, EveryOrderOfThreeIsAsLikelyAsAnother) {
  constexpr int kEpochs = 6000;
  const Sampler sampler(3, 3);
  std::map<Items, int> seen;
  for (int epoch = 0; epoch < kEpochs; ++epoch)
    ++seen[epoch_of(sampler, epoch)];
  EXPECT_EQ(seen.size(), 6u);
  // Five standard deviations of a binomial count.
  const double sigma = std::sqrt(kEpochs * (1.0 / 6) * (5.0 / 6));
  for (const auto& [order, count] : seen) {
    EXPECT_NEAR(count, kEpochs / 6.0, 5 * sigma);
  }
}

TEST(Sampler, NeighboursAreScattered) {
  constexpr std::uint64_t kSize = 10000;
  const Items items = epoch_of(Sampler(5, kSize), 0);
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

TEST(Sampler, HugeSizesWork) {
  const std::uint64_t size = (1ull << 61) + 12345;
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint64_t item = permute(1, 0, size, size - 1 - i);
    EXPECT_LT(item, size);
    EXPECT_TRUE(seen.insert(item).second);
  }
}

TEST(Sampler, NoItemsIsAnError) {
  expect_input_error([] { Sampler(1, 0); }, {"0 items"});
}

TEST(WindowSampler, WindowsLieInTheStreamAndDoNotOverlap) {
  for (const std::int64_t context : {1, 2, 7, 64}) {
    for (std::int64_t tokens = context + 1; tokens < 5 * context + 9;
         ++tokens) {
      const WindowSampler sampler(3, tokens, context);
      ASSERT_GE(sampler.windows(), 1u);
      for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
        Items firsts;
        for (std::uint64_t i = 0; i < sampler.windows(); ++i) {
          firsts.push_back(sampler.first_token(epoch * sampler.windows() + i));
          ASSERT_LE(firsts.back() + context + 1,
                    static_cast<std::uint64_t>(tokens));
        }
        std::ranges::sort(firsts);
        for (std::size_t i = 1; i < firsts.size(); ++i) {
          ASSERT_EQ(firsts[i] - firsts[i - 1],
                    static_cast<std::uint64_t>(context));
        }
      }
    }
  }
}

TEST(WindowSampler, EpochsAreCutAtOtherPlaces) {
  const WindowSampler sampler(1, 10000, 100);
  EXPECT_EQ(sampler.windows(), 98u);
  std::set<std::uint64_t> shifts;
  for (std::uint64_t epoch = 0; epoch < 500; ++epoch) {
    const auto first = sampler.first_token(epoch * sampler.windows());
    EXPECT_EQ(sampler.epoch(epoch * sampler.windows()), epoch);
    shifts.insert(first % 100);
  }
  // All but 0.7 of 100 shifts are expected among 500 draws.
  EXPECT_GT(shifts.size(), 90u);
}

TEST(WindowSampler, ASingleWindowIsNotShifted) {
  const WindowSampler sampler(1, 15, 10);
  EXPECT_EQ(sampler.windows(), 1u);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(sampler.first_token(i), 0u);
}

TEST(WindowSampler, TooFewTokensAreAnErrorThatStatesBoth) {
  expect_input_error([] { WindowSampler(1, 64, 64); },
                     {"64 tokens", "context 64", "65"});
  // The numbers: the file, the key, and advice that helps.
  const testing::ScratchFolder folder;
  const auto path = folder.path() / "val.bin";
  write_token_file(path, std::vector<std::uint16_t>(140, 97));
  const TokenFile file(path);
  const auto line = {path.string() +
                     ": 140 tokens with context 256: expected "
                     "at least 257 tokens, one window: prepare more text, or "
                     "choose a model.context below 140"};
  expect_input_error([&] { WindowSampler(1, file, 256); }, line);
  expect_input_error([&] { evaluation_windows(file, 256, 4); }, line);
  EXPECT_NO_THROW(WindowSampler(1, file, 139));
  EXPECT_EQ(evaluation_windows(file, 139, 4).size(), 1u);
  write_token_file(path, std::vector<std::uint16_t>(1, 97));
  const TokenFile single(path);
  expect_input_error([&] { evaluation_windows(single, 256, 4); },
                     {"val.bin", "1 tokens", "prepare more text"});
  try {
    evaluation_windows(single, 256, 4);
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()).find("below"), std::string::npos);
  }
  expect_input_error([] { WindowSampler(1, 64, 0); }, {"context 0"});
}

}  // namespace
}  // namespace mumoe::data
