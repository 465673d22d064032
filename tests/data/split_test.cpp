#include "data/text/split.h"

#include <fmt/format.h>
#include <numeric>

#include "base/random.h"
#include "data/text/prepare.h"
#include "data/text/token_file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

using Sizes = std::vector<std::uint64_t>;

SplitPlan plan_of(const Sizes& sizes) {
  Corpus corpus;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    corpus.documents.push_back(
        {fmt::format("text_{}", i), fmt::format("/in/text_{}", i)});
  }
  return plan_split(corpus, sizes);
}

/// The planned bytes for validation, of all.
double share_of(const Sizes& sizes, const SplitPlan& plan) {
  std::uint64_t taken = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (plan.validation[i]) taken += sizes[i];
  }
  if (plan.cut) {
    EXPECT_FALSE(plan.validation[plan.cut->document]);
    EXPECT_LT(plan.cut->at, sizes[plan.cut->document]);
    taken += sizes[plan.cut->document] - plan.cut->at;
  }
  return static_cast<double>(taken) /
         static_cast<double>(
             std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0}));
}

std::string repeated(const std::string& unit, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text.substr(0, bytes);
}

TEST(Split, EveryTenthDocumentWhereThatIsAboutATenth) {
  for (const Sizes& sizes : {Sizes(12, 2), Sizes(5, 700), Sizes(249, 40000)}) {
    const SplitPlan plan = plan_of(sizes);
    EXPECT_TRUE(plan.every_tenth);
    EXPECT_FALSE(plan.cut.has_value());
    EXPECT_EQ(plan.note, "");
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_EQ(plan.validation[i], i % 10 == 0) << i;
    }
  }
}

TEST(Split, UnlikeDocumentsGiveATenthOfTheBytes) {
  Sizes giant(100, 10);
  giant[37] = 1000000;
  Sizes giant_first(20, 1000);
  giant_first[10] = 900000;
  Sizes small_tenths(100, 5000);
  for (std::size_t i = 0; i < 100; i += 10) small_tenths[i] = 1;
  const std::vector<Sizes> cases = {
      {99000, 1000},
      {1, 99999},
      Sizes(2, 5000),
      Sizes(3, 333),
      giant,
      giant_first,
      small_tenths,
      {10, 3000, 3000, 3000, 3000},
      {100000},
  };
  for (const Sizes& sizes : cases) {
    const SplitPlan plan = plan_of(sizes);
    EXPECT_FALSE(plan.every_tenth);
    const double share = share_of(sizes, plan);
    EXPECT_GE(share, 0.05) << sizes.size() << " " << sizes[0];
    EXPECT_LE(share, 0.1) << sizes.size() << " " << sizes[0];
    EXPECT_EQ(plan.note.empty(), sizes.size() == 1);
  }
  const std::string note = plan_of({99000, 1000}).note;
  EXPECT_NE(note.find("99.0 %"), std::string::npos) << note;
  EXPECT_NE(note.find("10000 bytes or so of text_0"), std::string::npos)
      << note;
}

TEST(Split, RandomSizesGiveATenthOfTheBytes) {
  for (std::uint64_t trial = 0; trial < 2000; ++trial) {
    const CounterRandom random(7, Purpose::sample_order, trial);
    Sizes sizes(1 + random.below(0, 40));
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      // Over six orders of magnitude.
      sizes[i] = 1 + random.below(2 * i + 1, 1) +
                 random.below(2 * i + 2, 1ull << random.below(1000 + i, 20));
    }
    if (std::accumulate(sizes.begin(), sizes.end(), 0ull) < 100) continue;
    const SplitPlan plan = plan_of(sizes);
    const double share = share_of(sizes, plan);
    ASSERT_GE(share, 0.049) << trial;
    ASSERT_LE(share, plan.every_tenth ? 0.2 : 0.1) << trial;
  }
}

TEST(Split, IsAtALineElseASpaceElseACharacter) {
  const std::string lines = repeated("eleven here\n", 1000);
  EXPECT_EQ(cut_near(lines, 900, 10), 900u);  // 75 lines
  EXPECT_EQ(cut_near(lines, 898, 10), 900u);
  EXPECT_EQ(cut_near(lines, 901, 5), 900u);
  EXPECT_EQ(cut_near(lines, 905, 3), 906u) << "the space in the line";
  const std::string words = repeated("word ", 1000);
  EXPECT_EQ(words.substr(cut_near(words, 901, 10), 5), " word");
  const std::string wide = repeated("\xe2\x82\xac", 999);
  for (std::uint64_t at = 880; at < 890; ++at) {
    const std::size_t cut = cut_near(wide, at, 10);
    EXPECT_EQ(cut % 3, 0u) << at;
    EXPECT_LE(cut - at, 2u) << at;
  }
}

TEST(Split, NeverLeavesASideEmpty) {
  for (const std::string text : {"ab", "\n\n", "  ", "a\n", "\x80\x80\x80"}) {
    for (std::uint64_t at = 0; at <= text.size(); ++at) {
      const std::size_t cut = cut_near(text, at, 5);
      EXPECT_GT(cut, 0u) << text << at;
      EXPECT_LT(cut, text.size()) << text << at;
    }
  }
}

/// The text: 56,953 bytes in lines so long that the last began 33
/// bytes before the end; and others of its kind.
TEST(Split, LongLinesAndOneLineKeepTheShare) {
  const ScratchFolder folder;
  const ByteTokenizer tokenizer;
  const std::string sentence = "It was the best of times. ";
  const std::vector<std::string> texts = {
      repeated(sentence, 56919) + "\n" + repeated(sentence, 32) + "\n",
      repeated(sentence, 56953),
      repeated("nospaceatall", 20000),
      repeated("\xe6\x97\xa5\xe6\x9c\xac", 30000),
      repeated(sentence, 5000) + "\r\n" + repeated(sentence, 45000),
  };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    folder.write(fmt::format("in{}/only.txt", i), texts[i]);
    const auto data = prepare((folder.path() / fmt::format("in{}", i)).string(),
                              tokenizer,
                              folder.path() / fmt::format("out{}", i));
    const auto bytes = static_cast<double>(data.val.bytes);
    EXPECT_NEAR(bytes / static_cast<double>(texts[i].size()), 0.1, 0.0101) << i;
    EXPECT_EQ(data.val.bytes + data.train.bytes, texts[i].size()) << i;
    EXPECT_TRUE(data.notes.empty()) << i << ": " << data.notes[0];
  }
}

TEST(Split, SeveralDocumentsAreCutAndJoinToTheText) {
  const ScratchFolder folder;
  const std::string large =
      repeated("all that is gold does not glitter\n", 99000);
  folder.write("in/a.txt", repeated("small\n", 900));
  folder.write("in/b.txt", large);
  const auto data = prepare((folder.path() / "in").string(),
                            ByteTokenizer(),
                            folder.path() / "out");
  EXPECT_EQ(data.val.documents, 2u);
  EXPECT_EQ(data.train.documents, 1u);
  EXPECT_NEAR(data.val.bytes / 99900.0, 0.1, 0.01);
  EXPECT_EQ(data.val.bytes + data.train.bytes, 99900u);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_NE(data.notes[0].find("b.txt"), std::string::npos) << data.notes[0];
  EXPECT_EQ(prepare((folder.path() / "in").string(),
                    ByteTokenizer(),
                    folder.path() / "out")
                .notes,
            data.notes)
      << "told again when it is found made";
}

TEST(Split, SmallPartsAreAnnounced) {
  const ScratchFolder folder;
  folder.write("in/only.txt", repeated("A sentence or two.\n", 2000));
  const auto data = prepare((folder.path() / "in").string(),
                            ByteTokenizer(),
                            folder.path() / "out");
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_EQ(
      data.notes[0],
      fmt::format(
          "only {} validation tokens: a loss on fewer than 1000 says little",
          data.val.tokens));
}

}  // namespace
}  // namespace mumoe::data
