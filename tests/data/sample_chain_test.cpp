#include "data/sample_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "data/sequence.h"
#include "tests/data/counted_samples.h"

namespace mumoe::data {
namespace {

using Numbers = std::vector<std::uint64_t>;

TEST(Sequence, SaysWhichSamplesABatchHas) {
  const testing::CountedSamples samples(10);
  const Order order(3, samples.size());
  const HostBatch batch =
      OrderedSamples(samples, order).make(Numbers{7, 3, 25});
  EXPECT_EQ(batch.numbers, (Numbers{7, 3, 25}));
  EXPECT_EQ(batch.indices,
            (Numbers{order.index(7), order.index(3), order.index(25)}));
  const auto& rows = std::get<std::vector<std::int32_t>>(batch.input);
  EXPECT_EQ(Numbers(rows.begin(), rows.end()), batch.indices);
}

TEST(SampleChain, ADigestIsTheSameWhoeverTakesWhich) {
  const Order order(3, 100);
  Numbers numbers(16), indices;
  std::iota(numbers.begin(), numbers.end(), 95);
  for (const auto number : numbers) indices.push_back(order.index(number));
  const auto whole = expected_digest(order, 95, 16);
  EXPECT_EQ(digest_of(numbers, indices), whole);
  for (std::size_t cut = 0; cut <= 16; ++cut) {
    const std::span n(numbers), i(indices);
    EXPECT_EQ(digest_of(n.first(cut), i.first(cut)) +
                  digest_of(n.subspan(cut), i.subspan(cut)),
              whole);
  }
}

TEST(SampleChain, DigestsTellSamplesApart) {
  const Order order(3, 100);
  const auto digest = expected_digest(order, 32, 16);
  EXPECT_NE(expected_digest(order, 32, 15), digest);
  EXPECT_NE(expected_digest(order, 48, 16), digest);
  EXPECT_NE(expected_digest(order, 132, 16), digest) << "an epoch later";
  EXPECT_NE(expected_digest(Order(4, 100), 32, 16), digest);
  // The same samples with their numbers exchanged: other dropout.
  EXPECT_NE(digest_of(Numbers{1, 2}, Numbers{5, 6}),
            digest_of(Numbers{2, 1}, Numbers{5, 6}));
  EXPECT_NE(digest_of(Numbers{1}, Numbers{0}), digest_of(Numbers{0}, {{1}}));
  EXPECT_NE(digest_of(Numbers{0}, Numbers{0}), 0u);
}

TEST(SampleChain, ChainsTellHistoriesApart) {
  const auto chain_of = [](const Numbers& digests) {
    return std::accumulate(digests.begin(),
                           digests.end(),
                           std::uint64_t{0},
                           chained);
  };
  const auto chain = chain_of({1, 2, 3});
  EXPECT_NE(chain_of({1, 3, 2}), chain);
  EXPECT_NE(chain_of({1, 2}), chain);
  EXPECT_NE(chain_of({1, 2, 2, 3}), chain);
  EXPECT_NE(chain_of({0, 1, 2, 3}), chain) << "a step before the first";
}

TEST(SampleChain, IsStoredBehaviour) {
  // A change here refuses every checkpoint there is.
  EXPECT_EQ(chained(0, expected_digest(Order(1, 10), 0, 4)),
            8109091777755823780ull);
}

}  // namespace
}  // namespace mumoe::data
