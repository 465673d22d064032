#include "data/batch.h"

#include <numeric>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

using Firsts = std::vector<std::uint64_t>;

/// A file whose token i is i.
TokenFile counting_file(const ScratchFolder& folder, std::size_t tokens) {
  std::vector<std::uint16_t> values(tokens);
  std::iota(values.begin(), values.end(), 0);
  write_token_file(folder.path() / "count.bin", values);
  return TokenFile(folder.path() / "count.bin");
}

TEST(Batch, RowsAreTheWindows) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, 50);
  const Batch batch = window_batch(file, Firsts{40, 0, 46}, 3);
  EXPECT_EQ(batch.samples, 3);
  EXPECT_EQ(batch.length, 4);
  EXPECT_EQ(
      batch.tokens,
      (std::vector<std::int32_t>{40, 41, 42, 43, 0, 1, 2, 3, 46, 47, 48, 49}));
  std::vector<std::int64_t> wide(4);
  fill_windows(file, Firsts{7}, 3, std::span(wide));
  EXPECT_EQ(wide, (std::vector<std::int64_t>{7, 8, 9, 10}));
  expect_input_error([&] { window_batch(file, Firsts{47}, 3); },
                     {file.path().string()});
}

TEST(Batch, RanksThatShareTheSamplesMakeTheWholeBatch) {
  const ScratchFolder folder;
  const TokenFile file = counting_file(folder, 5000);
  const WindowSampler sampler(1, file.size(), 16);
  Firsts samples(8);
  std::iota(samples.begin(), samples.end(), 1000);
  const Batch whole = sample_batch(file, sampler, samples);
  std::vector<std::int32_t> joined;
  for (int rank = 0; rank < 4; ++rank) {
    const Batch part =
        sample_batch(file, sampler, std::span(samples).subspan(rank * 2, 2));
    joined.insert(joined.end(), part.tokens.begin(), part.tokens.end());
  }
  EXPECT_EQ(joined, whole.tokens);
  for (std::size_t row = 0; row < samples.size(); ++row) {
    EXPECT_EQ(whole.tokens[row * 17],
              static_cast<std::int32_t>(sampler.first_token(1000 + row)));
  }
}

TEST(EvaluationWindows, AreEvenlySpacedAndDoNotOverlap) {
  EXPECT_EQ(evaluation_windows(101, 10, 5), (Firsts{0, 20, 40, 60, 80}));
  EXPECT_EQ(evaluation_windows(31, 10, 3), (Firsts{0, 10, 20}));
  EXPECT_EQ(evaluation_windows(30, 10, 99), (Firsts{0, 10}));
  for (std::uint64_t tokens = 9; tokens < 200; ++tokens) {
    for (std::int64_t count = 1; count < 30; ++count) {
      const Firsts firsts = evaluation_windows(tokens, 8, count);
      ASSERT_LE(firsts.back() + 9, tokens);
      for (std::size_t i = 1; i < firsts.size(); ++i) {
        ASSERT_GE(firsts[i], firsts[i - 1] + 8);
      }
    }
  }
}

TEST(EvaluationWindows, NoneIsAnError) {
  expect_input_error([] { evaluation_windows(8, 8, 1); },
                     {"8 tokens", "context 8"});
  expect_input_error([] { evaluation_windows(100, 8, 0); }, {"0 evaluation"});
}

}  // namespace
}  // namespace mumoe::data
