#include "data/text/blocks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "data/fetch.h"
#include "data/in_order.h"
#include "data/text/bpe.h"
#include "data/text/token_file.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::ScratchFolder;

std::vector<Block> blocks_of(const Corpus& corpus) {
  std::vector<Block> blocks;
  BlockReader reader(corpus);
  while (auto block = reader.next()) blocks.push_back(std::move(*block));
  return blocks;
}

/// Text with all that decides where words end, of more than three blocks.
std::string long_text() {
  const CounterRandom random(3, Purpose::test);
  constexpr std::array<std::string_view, 12> kScraps = {"word",
                                                        " ",
                                                        "\n",
                                                        "\r\n",
                                                        "  ",
                                                        "it's",
                                                        " 42",
                                                        "\xe6\x97\xa5",
                                                        "\xc2\xa0",
                                                        "!",
                                                        "\t",
                                                        "\xff"};
  std::string text;
  for (std::uint64_t i = 0; text.size() < 3 * BlockReader::kBytes + 7; ++i) {
    text += kScraps[random.below(i, kScraps.size())];
  }
  return text;
}

TEST(Blocks, JoinedTheyAreTheFilesAndTheirTokensToo) {
  const ScratchFolder folder;
  const std::string text = long_text();
  folder.write("a.txt", text);
  folder.write("b.txt", "b");
  const Corpus corpus = read_corpus(folder.path());
  const auto blocks = blocks_of(corpus);
  ASSERT_GE(blocks.size(), 4u);
  const BpeTokenizer tokenizer(fetch_bpe_folder());
  std::string joined;
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
    EXPECT_EQ(blocks[i].number, i);
    EXPECT_EQ(blocks[i].offset, joined.size());
    EXPECT_EQ(blocks[i].document, 0u);
    EXPECT_EQ(blocks[i].last, i + 2 == blocks.size());
    EXPECT_LE(blocks[i].bytes.size(), BlockReader::kBytes + 1);
    joined += blocks[i].bytes;
    const auto own = tokenizer.encode(blocks[i].bytes);
    ids.insert(ids.end(), own.begin(), own.end());
  }
  EXPECT_EQ(joined, text);
  EXPECT_EQ(ids, tokenizer.encode(text));
  EXPECT_EQ(blocks[blocks.size() - 2].hash, hash_hex(text));
  EXPECT_EQ(blocks.back().bytes, "b");
  EXPECT_EQ(blocks.back().document, 1u);
}

TEST(Blocks, ATextWithoutAPlaceToCutIsOne) {
  const ScratchFolder folder;
  folder.write("a.txt", std::string(5 * BlockReader::kBytes, 'x'));
  const auto blocks = blocks_of(read_corpus(folder.path()));
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0].bytes.size(), 5 * BlockReader::kBytes);
  EXPECT_TRUE(blocks[0].last);
}

TEST(Blocks, LinesAreWholeAndCounted) {
  const ScratchFolder folder;
  std::string lines;
  for (int i = 0; i < 100'000; ++i) {
    lines +=
        fmt::format("{{\"text\": \"number {}\"}}\n{}", i, i % 5 ? "" : "\n");
  }
  folder.write("a.jsonl", lines);
  folder.write("b.jsonl", "{\"text\": \"last\"}");
  const auto blocks = blocks_of(read_corpus(folder.path()));
  ASSERT_GE(blocks.size(), 4u);
  std::uint64_t line = 1, document = 0;
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
    EXPECT_EQ(blocks[i].line, line);
    EXPECT_EQ(blocks[i].document, document);
    EXPECT_TRUE(blocks[i].bytes.ends_with('\n'));
    const std::string& bytes = blocks[i].bytes;
    line += static_cast<std::uint64_t>(std::ranges::count(bytes, '\n'));
    document += static_cast<std::uint64_t>(std::ranges::count(bytes, '{'));
  }
  EXPECT_EQ(document, 100'000u);
  EXPECT_EQ(blocks.back().document, 100'000u);
  EXPECT_EQ(blocks.back().line, 1u);
}

TEST(InOrder, ResultsComeInOrderAndTheFirstFailureCounts) {
  for (const unsigned threads : {1, 2, 5}) {
    int next = 0;
    std::vector<int> seen;
    const auto run = [&](int end, int bad) {
      next = 0;
      seen.clear();
      in_order(
          threads,
          [&]() -> std::optional<int> {
            if (next == end) return {};
            return next++;
          },
          [&](int item) {
            if (item == bad || item == bad + 1) throw item;
            std::this_thread::sleep_for(std::chrono::microseconds(item % 3));
            return item * 2;
          },
          [&](int result) { seen.push_back(result); });
    };
    run(200, -9);
    ASSERT_EQ(seen.size(), 200u);
    for (int i = 0; i < 200; ++i) ASSERT_EQ(seen[i], 2 * i);
    try {
      run(200, 50);
      ADD_FAILURE() << "nothing was thrown";
    } catch (int item) {
      EXPECT_EQ(item, 50);
    }
    EXPECT_EQ(seen.size(), 50u);
    run(0, -9);
    EXPECT_TRUE(seen.empty());
  }
}

}  // namespace
}  // namespace mumoe::data
