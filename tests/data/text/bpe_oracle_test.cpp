#include "tests/data/text/bpe_oracle.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "base/random.h"
#include "data/fetch.h"
#include "data/text/bpe.h"
#include "data/text/words.h"

namespace mumoe::data {
namespace {

class BpeFuzz : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto folder = fetch_bpe_folder();
    tokenizer_ = std::make_unique<BpeTokenizer>(folder);
    oracle_ = std::make_unique<BpeOracle>(folder);
  }
  static void TearDownTestSuite() {
    tokenizer_.reset();
    oracle_.reset();
  }
  static inline std::unique_ptr<BpeTokenizer> tokenizer_;
  static inline std::unique_ptr<BpeOracle> oracle_;
};

/// What decides where words end, and what merges; bytes of no character too.
constexpr std::array<std::string_view, 44> kScraps = {"a",
                                                      "the",
                                                      "Ing",
                                                      "X",
                                                      "zq",
                                                      " ",
                                                      " ",
                                                      " ",
                                                      "  ",
                                                      "\n",
                                                      "\r\n",
                                                      "\t",
                                                      "\v\f",
                                                      "'",
                                                      "'s",
                                                      "'ll",
                                                      "'ve",
                                                      "'re",
                                                      "'T",
                                                      "0",
                                                      "42",
                                                      "2026",
                                                      ".",
                                                      "!?",
                                                      "-",
                                                      "_",
                                                      "\x7f",
                                                      "\x1c",
                                                      "\xc3\xa9",
                                                      "\xc2\xa0",
                                                      "\xe3\x80\x80",
                                                      "\xe1\xa0\x8e",
                                                      "\xc2\xb2",
                                                      "\xe6\x97\xa5",
                                                      "\xd0\x96",
                                                      "\xf0\x9f\x98\x80",
                                                      "\xcc\x81",
                                                      "\xe2\x80\x99",
                                                      "\xe2\x80\xa8",
                                                      "\xff",
                                                      "\xe2\x80",
                                                      "\xed\xa0\x80",
                                                      "\xd9\xa3",
                                                      "supercalifragilistic"};

std::string scraps(std::uint64_t seed, int count, std::size_t kinds) {
  const CounterRandom random(seed, Purpose::test, 2);
  std::string text;
  for (int i = 0; i < count; ++i) text += kScraps[random.below(i, kinds)];
  return text;
}

TEST_F(BpeFuzz, WordsAreThoseOfThePattern) {
  const WordSplitter splitter;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    // Also of ASCII alone, which is cut by hand.
    const std::string text =
        scraps(seed, 12, seed % 2 == 0 ? 28 : kScraps.size());
    ASSERT_EQ(splitter.split(text), oracle_->words(text))
        << ::testing::PrintToString(text);
  }
}

TEST_F(BpeFuzz, IdsAreThoseOfTheOracle) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const std::string text = scraps(seed, 60, kScraps.size());
    ASSERT_EQ(tokenizer_->encode(text), oracle_->encode(text))
        << ::testing::PrintToString(text);
  }
}

/// A word of `size` of some of the letters, so that pairs overlap.
std::string long_word(std::uint64_t seed, std::size_t size) {
  const CounterRandom random(seed, Purpose::test, 3);
  const std::uint64_t letters = 1 + random.below(0, 6);
  std::string word;
  for (std::size_t i = 0; i < size; ++i) {
    word += "aenost"[random.below(i + 1, letters)];
  }
  return word;
}

TEST_F(BpeFuzz, LongWordsAreThoseOfTheOracle) {
  // The cache's longest word, the longest without a heap, and their neighbours.
  std::uint64_t seed = 0;
  for (const std::size_t size : {15, 30, 31, 32, 100, 511, 512, 513, 600}) {
    for (int i = 0; i < 8; ++i) {
      const std::string word = long_word(seed++, size);
      ASSERT_EQ(tokenizer_->encode(word), oracle_->encode(word)) << word;
      // From the cache, if it has it.
      ASSERT_EQ(tokenizer_->encode(word), oracle_->encode(word)) << word;
    }
  }
}

TEST_F(BpeFuzz, ThreadsThatEncodeAtOnceGetTheSame) {
  std::vector<std::string> texts;
  std::vector<std::vector<std::int32_t>> expected;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    texts.push_back(scraps(1000 + seed, 100, kScraps.size()));
    expected.push_back(oracle_->encode(texts.back()));
  }
  std::array<int, 4> equal{};
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < equal.size(); ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < texts.size(); ++i) {
          const std::size_t which = (i * (2 * t + 1) + t) % texts.size();
          equal[t] += tokenizer_->encode(texts[which]) == expected[which];
        }
      });
    }
  }
  EXPECT_EQ(equal, (std::array{40, 40, 40, 40}));
}

}  // namespace
}  // namespace mumoe::data
