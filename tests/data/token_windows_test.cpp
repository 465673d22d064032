#include "data/text/token_windows.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <set>
#include <vector>

#include "data/order.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

using Indices = std::vector<std::uint64_t>;
using Ids = std::vector<std::int32_t>;

/// A file whose token i is i, in the form that has no header.
TokenFile counting_file(const ScratchFolder& folder, std::size_t tokens) {
  std::vector<std::uint16_t> values(tokens);
  std::iota(values.begin(), values.end(), 0);
  const auto path = folder.path() / "count.bin";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(2 * tokens));
  return TokenFile(path);
}

Ids ids(const Rows& rows) {
  return std::get<Ids>(rows);
}

TEST(TokenWindows, RowsAreTheWindowsAndTheSameOneTokenLater) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, 50);
  const TokenWindows windows(file, 3);
  EXPECT_EQ(windows.size(), 16u);
  EXPECT_EQ(windows.targets_per_sample(), 3);
  const HostBatch batch = windows.make(Indices{13, 0, 15, 16});
  EXPECT_EQ(batch.samples, 4);
  EXPECT_EQ(ids(batch.input), (Ids{39, 40, 41, 0, 1, 2, 45, 46, 47, 0, 1, 2}));
  EXPECT_EQ(ids(batch.target), (Ids{40, 41, 42, 1, 2, 3, 46, 47, 48, 1, 2, 3}));
  EXPECT_EQ(windows.make({}).samples, 0);
}

TEST(TokenWindows, RanksThatShareTheSamplesMakeTheWholeBatch) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, 5000);
  const TokenWindows windows(file, 16, 1);
  const Order order(1, windows.size());
  Indices samples(8);
  for (std::size_t i = 0; i < 8; ++i) samples[i] = order.index(1000 + i);
  const HostBatch whole = windows.make(samples);
  Ids joined;
  for (int rank = 0; rank < 4; ++rank) {
    const Ids part =
        ids(windows.make(std::span(samples).subspan(rank * 2, 2)).input);
    joined.insert(joined.end(), part.begin(), part.end());
  }
  EXPECT_EQ(joined, ids(whole.input));
  for (std::size_t row = 0; row < samples.size(); ++row) {
    EXPECT_EQ(ids(whole.input)[row * 16],
              static_cast<std::int32_t>(windows.first_token(samples[row])));
  }
}

/// Where the samples of an evaluation start.
Indices evaluation_firsts(const TokenWindows& windows, std::int64_t count) {
  Indices firsts;
  for (const auto index : evaluation_samples(windows.size(), count)) {
    firsts.push_back(windows.first_token(index));
  }
  return firsts;
}
Indices evaluation_firsts(std::size_t tokens,
                          std::int64_t context,
                          std::int64_t count) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, tokens);
  return evaluation_firsts(TokenWindows(file, context), count);
}

TEST(EvaluationWindows, AreEvenlySpacedAndDoNotOverlap) {
  EXPECT_EQ(evaluation_firsts(101, 10, 5), (Indices{0, 20, 40, 60, 80}));
  EXPECT_EQ(evaluation_firsts(31, 10, 3), (Indices{0, 10, 20}));
  EXPECT_EQ(evaluation_firsts(30, 10, 99), (Indices{0, 10}));
  const ScratchFolder folder;
  for (std::uint64_t tokens = 9; tokens < 200; ++tokens) {
    const TokenFile file = counting_file(folder, tokens);
    const TokenWindows windows(file, 8);
    for (std::int64_t count = 1; count < 30; ++count) {
      const Indices firsts = evaluation_firsts(windows, count);
      ASSERT_LE(firsts.back() + 9, tokens);
      for (std::size_t i = 1; i < firsts.size(); ++i) {
        ASSERT_GE(firsts[i], firsts[i - 1] + 8);
      }
    }
  }
}

TEST(EvaluationWindows, NoneIsAnError) {
  expect_input_error([] { evaluation_firsts(8, 8, 1); },
                     {"8 tokens", "context 8"});
  expect_input_error([] { evaluation_firsts(100, 8, 0); }, {"0 evaluation"});
}

TEST(TokenWindows, LieInTheFileAndDoNotOverlap) {
  const ScratchFolder folder;
  for (const std::int64_t context : {1, 2, 7, 64}) {
    for (std::int64_t tokens = context + 1; tokens < 5 * context + 9;
         ++tokens) {
      const TokenFile file = counting_file(folder, tokens);
      const TokenWindows windows(file, context, 3);
      const Order order(3, windows.size());
      ASSERT_GE(windows.size(), 1u);
      for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
        Indices firsts;
        for (std::uint64_t i = 0; i < windows.size(); ++i) {
          firsts.push_back(
              windows.first_token(order.index(epoch * windows.size() + i)));
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

TEST(TokenWindows, EpochsAreCutAtOtherPlaces) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, 10000);
  const TokenWindows windows(file, 100, 1);
  EXPECT_EQ(windows.size(), 98u);
  std::set<std::uint64_t> shifts;
  for (std::uint64_t epoch = 0; epoch < 500; ++epoch) {
    shifts.insert(windows.first_token(epoch * windows.size()) % 100);
  }
  // All but 0.7 of 100 shifts are expected among 500 draws.
  EXPECT_GT(shifts.size(), 90u);
}

TEST(TokenWindows, ASingleOneIsNotShifted) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, 15);
  const TokenWindows windows(file, 10, 1);
  EXPECT_EQ(windows.size(), 1u);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(windows.first_token(i), 0u);
}

TEST(TokenWindows, TooFewTokensAreAnErrorThatStatesBoth) {
  const ScratchFolder folder;
  const TokenFile short_file = counting_file(folder, 64);
  expect_input_error([&] { TokenWindows(short_file, 64, 1); },
                     {"64 tokens", "context 64", "65"});
  expect_input_error([&] { TokenWindows(short_file, 0, 1); }, {"context 0"});
  // The numbers: the file, the key, and advice that helps.
  const auto path = folder.path() / "val.bin";
  write_token_file(path, std::vector<std::uint16_t>(140, 97));
  const TokenFile file(path);
  const auto line = {path.string() +
                     ": 140 tokens with context 256: expected "
                     "at least 257 tokens, one window: prepare more text, or "
                     "choose a model.context below 140"};
  expect_input_error([&] { TokenWindows(file, 256, 1); }, line);
  expect_input_error([&] { TokenWindows(file, 256); }, line);
  EXPECT_NO_THROW(TokenWindows(file, 139, 1));
  EXPECT_EQ(evaluation_samples(TokenWindows(file, 139).size(), 4).size(), 1u);
  write_token_file(path, std::vector<std::uint16_t>(1, 97));
  const TokenFile single(path);
  expect_input_error([&] { TokenWindows(single, 256); },
                     {"val.bin", "1 tokens", "prepare more text"});
  try {
    TokenWindows(single, 256);
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()).find("below"), std::string::npos);
  }
}

}  // namespace
}  // namespace mumoe::data
