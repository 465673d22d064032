#include "data/mixture.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "tests/data/counted_samples.h"
#include "tests/support/errors.h"

namespace mumoe::data {
namespace {

using testing::CountedSamples;
using testing::expect_input_error;
using Sources = std::vector<MixtureOrder::Source>;

TEST(Mixture, EverySourceVisitsEachSampleOnceAnEpoch) {
  const Sources sources{{37, 0.5}, {5, 0.3}, {301, 0.2}};
  const CountedSamples a(37), b(5), c(301);
  const MixedSamples mixed({&a, &b, &c});
  const MixtureOrder order(9, sources);
  std::vector<std::uint64_t> drawn(3);
  std::vector<std::set<std::uint64_t>> epoch(3);
  for (std::uint64_t sample = 0; sample < 5000; ++sample) {
    const auto [source, index] = mixed.source_of(order.index(sample));
    EXPECT_EQ(source, order.source(sample));
    // Its own epochs follow each other strictly.
    const auto size = sources[source].size;
    ASSERT_EQ(index / size, drawn[source] / size);
    EXPECT_TRUE(epoch[source].insert(index % size).second);
    if (++drawn[source] % size == 0) {
      EXPECT_EQ(epoch[source].size(), size);
      epoch[source].clear();
    }
  }
  EXPECT_EQ(drawn, (std::vector<std::uint64_t>{2500, 1500, 1000}));
}

TEST(Mixture, SharesAreTheWeightsInEveryBlock) {
  const auto shares = [](const Sources& sources) {
    const MixtureOrder order(1, sources);
    std::vector<std::uint64_t> found;
    for (std::size_t s = 0; s < sources.size(); ++s) {
      found.push_back(order.share(s));
    }
    EXPECT_EQ(std::accumulate(found.begin(), found.end(), 0ull), order.block());
    return found;
  };
  using Shares = std::vector<std::uint64_t>;
  EXPECT_EQ(shares({{9, 0.7}, {9, 0.2}, {9, 0.1}}), (Shares{700, 200, 100}));
  EXPECT_EQ(shares({{9, 1}, {9, 1}, {9, 1}}), (Shares{333, 333, 333}));
  EXPECT_EQ(shares({{9, 6}, {9, 4}}), (Shares{600, 400}));
  EXPECT_EQ(shares({{9, 1}, {9, 0.00001}}), (Shares{999, 1}))
      << "nobody is left out";
  EXPECT_EQ(shares({{9, 2.0 / 3}, {9, 1.0 / 3}}), (Shares{667, 333}));
}

TEST(Mixture, SourcesAreScatteredAndBlocksDiffer) {
  const MixtureOrder order(2, {{100, 1}, {100, 1}});
  int changes = 0, alike = 0;
  for (std::uint64_t sample = 1; sample < order.block(); ++sample) {
    changes += order.source(sample) != order.source(sample - 1);
    alike += order.source(sample) == order.source(sample + order.block());
  }
  // Each is a coin tossed 1000 times, within five standard deviations.
  EXPECT_NEAR(changes, 500, 80);
  EXPECT_NEAR(alike, 500, 80);
}

TEST(Mixture, OfOneSourceIsItsOrder) {
  const MixtureOrder mixture(7, {{123, 2}});
  const Order order(7, 123);
  for (std::uint64_t sample = 0; sample < 3000; ++sample) {
    ASSERT_EQ(mixture.index(sample), order.index(sample));
  }
}

TEST(Mixture, SourcesOfOneSizeHaveOrdersOfTheirOwn) {
  const MixtureOrder order(7, {{50, 1}, {50, 1}});
  std::vector<std::uint64_t> items[2];
  for (std::uint64_t sample = 0; sample < 90; ++sample) {
    const auto item = order.index(sample) % 100;
    items[item / 50].push_back(item % 50);
  }
  const auto count = std::min(items[0].size(), items[1].size());
  EXPECT_GT(count, 20u);
  items[0].resize(count);
  items[1].resize(count);
  EXPECT_NE(items[0], items[1]);
}

// A promise: any position in less than a millisecond.
TEST(Mixture, AnyPositionIsThereAtOnce) {
  Sources sources(256, {1'000'000'007, 0.1});
  sources[3].weight = 10;
  const MixtureOrder order(5, sources);
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  std::uint64_t sum = 0;
  for (int round = 0; round < 20; ++round) {
    const auto begin = Clock::now();
    sum += order.index((1ull << 40) + round * 1'000'003);
    best =
        std::min(best,
                 std::chrono::duration<double, std::milli>(Clock::now() - begin)
                     .count());
  }
  EXPECT_GT(sum, 0u);
  EXPECT_LT(best, 1);
}

TEST(Mixture, OrdersAreStoredBehaviour) {
  const MixtureOrder order(1, {{10, 1}, {4, 1}});
  std::vector<std::uint64_t> items;
  for (std::uint64_t sample = 0; sample < 8; ++sample) {
    items.push_back(order.index(sample));
  }
  EXPECT_EQ(items, (std::vector<std::uint64_t>{10, 9, 13, 11, 12, 6, 7, 4}));
}

TEST(Mixture, WhatItCannotBeIsOneLine) {
  expect_input_error([] { MixtureOrder(1, {}); }, {"0 sources"});
  expect_input_error(
      [] {
        MixtureOrder(1, {{5, 1}, {5, 0}});
      },
      {"weight 0 of source 2"});
  expect_input_error([] { MixtureOrder(1, {{5, 1}, {0, 1}}); }, {"0 items"});
  expect_input_error([] { MixedSamples({}); }, {"no sources"});
  const CountedSamples one(5), two(5, 2);
  expect_input_error(
      [&] {
        MixedSamples({&one, &two});
      },
      {"1 and 2 targets a sample"});
}

TEST(MixedSamples, ComeInTheOrderAskedFor) {
  const CountedSamples a(3), b(4);
  const MixedSamples mixed({&a, &b});
  EXPECT_EQ(mixed.size(), 7u);
  // Epoch 2 of the second source's item 1, and so on.
  const std::vector<std::uint64_t> indices{2 * 7 + 3 + 1, 0, 7 + 2, 6};
  const HostBatch batch = mixed.make(indices);
  EXPECT_EQ(batch.samples, 4);
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(batch.input),
            (std::vector<std::int32_t>{2 * 4 + 1, 0, 3 + 2, 3}));
}

}  // namespace
}  // namespace mumoe::data
