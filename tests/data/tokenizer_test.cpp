#include "data/text/tokenizer.h"

#include <string>

#include "base/random.h"
#include "data/fetch.h"
#include "data/text/bpe.h"
#include "data/text/words.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

using Ids = std::vector<std::int32_t>;

std::string random_bytes(std::uint64_t seed, std::size_t size) {
  const CounterRandom random(seed, Purpose::test);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<char>(random.below(i, 256));
  }
  return bytes;
}

/// A well-formed character of one to four bytes, all lengths equally often.
std::string random_character(const CounterRandom& random, std::uint64_t i) {
  static constexpr std::uint32_t kFrom[] = {0, 0x80, 0x800, 0x10000, 0x110000};
  const std::uint64_t kind = random.below(2 * i, 4);
  std::uint32_t code =
      kFrom[kind] + random.below(2 * i + 1, kFrom[kind + 1] - kFrom[kind]);
  if (code >= 0xD800 && code < 0xE000) code = 0x20;
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | (code >> shift & 0x3F));
  };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) {
    return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  }
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

TEST(ByteTokenizer, IdsAreTheBytes) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.encode("A\xFF"), (Ids{65, 255}));
  EXPECT_EQ(tokenizer.decode(Ids{72, 105, 200}), "Hi\xC8");
  EXPECT_EQ(tokenizer.vocabulary(), 256);
  EXPECT_EQ(tokenizer.end_of_document(), 0);
  EXPECT_EQ(tokenizer.name(), "bytes");
}

TEST(ByteTokenizer, ErrorsNameThePlace) {
  const ByteTokenizer tokenizer;
  expect_input_error([&] { tokenizer.encode(std::string("ab\0c", 4)); },
                     {"offset 2"});
  expect_input_error(
      [&] {
        tokenizer.decode(Ids{1, 256});
      },
      {"token 256", "position 1"});
  expect_input_error([&] { tokenizer.decode(Ids{-1}); }, {"token -1"});
}

TEST(MakeTokenizer, KnowsItsNames) {
  EXPECT_EQ(make_tokenizer("bytes")->name(), "bytes");
  EXPECT_EQ(make_tokenizer("gpt2")->name(), "gpt2");
  expect_input_error([] { make_tokenizer("words"); },
                     {"words", "bytes", "gpt2"});
}

TEST(Utf8Length, TellsWellFormedFromNot) {
  const auto length = [](std::string_view text) { return utf8_length(text); };
  EXPECT_EQ(length("a"), 1);
  EXPECT_EQ(length("\xC2\x80"), 2);
  EXPECT_EQ(length("\xE0\xA0\x80"), 3);
  EXPECT_EQ(length("\xED\x9F\xBF"), 3);
  EXPECT_EQ(length("\xF0\x90\x80\x80"), 4);
  EXPECT_EQ(length("\xF4\x8F\xBF\xBF"), 4);
  for (const std::string_view bad : {"",
                                     "\x80",
                                     "\xC1\xBF",
                                     "\xC2",
                                     "\xC2x",
                                     "\xE0\x9F\xBF",
                                     "\xED\xA0\x80",
                                     "\xE1\x80",
                                     "\xF0\x8F\xBF\xBF",
                                     "\xF4\x90\x80\x80",
                                     "\xF5\x80\x80\x80",
                                     "\xF1\x80\x80"}) {
    EXPECT_EQ(length(bad), 0) << ::testing::PrintToString(bad);
  }
}

TEST(WordSplitter, WordsJoinedAreTheText) {
  const WordSplitter splitter;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = random_bytes(seed, 1000);
    std::string joined;
    for (const auto word : splitter.split(text)) {
      ASSERT_FALSE(word.empty());
      joined += word;
    }
    ASSERT_EQ(joined, text);
  }
}

TEST(WordSplitter, CutsAsThePatternSays) {
  const WordSplitter splitter;
  using Words = std::vector<std::string_view>;
  EXPECT_EQ(splitter.split("I'll go  to 12th\n"),
            (Words{"I", "'ll", " go", " ", " to", " 12", "th", "\n"}));
  // U+180E is no white space; a stray byte stands alone.
  EXPECT_EQ(splitter.split("a\xE1\xA0\x8E!"), (Words{"a", "\xE1\xA0\x8E!"}));
  EXPECT_EQ(splitter.split("ab\xFF\xFE"
                           "cd"),
            (Words{"ab", "\xFF", "\xFE", "cd"}));
}

class Bpe : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = std::make_unique<BpeTokenizer>(fetch_bpe_folder());
  }
  static void TearDownTestSuite() { tokenizer_.reset(); }
  static inline std::unique_ptr<BpeTokenizer> tokenizer_;
};

TEST_F(Bpe, VocabularyIsThatOfGpt2) {
  EXPECT_EQ(tokenizer_->vocabulary(), 50257);
  EXPECT_EQ(tokenizer_->end_of_document(), 50256);
  EXPECT_EQ(tokenizer_->decode(Ids{50256}), "<|endoftext|>");
  EXPECT_EQ(tokenizer_->encode("Hello world"), (Ids{15496, 995}));
}

TEST_F(Bpe, SpecialTextIsOrdinaryText) {
  const Ids ids = tokenizer_->encode("<|endoftext|>");
  EXPECT_EQ(ids, (Ids{27, 91, 437, 1659, 5239, 91, 29}));
}

TEST_F(Bpe, RandomBytesAndCharactersComeBack) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::string bytes = random_bytes(seed, 500);
    ASSERT_EQ(tokenizer_->decode(tokenizer_->encode(bytes)), bytes);
    const CounterRandom random(seed, Purpose::test, 1);
    std::string text;
    for (int i = 0; i < 300; ++i) text += random_character(random, i);
    ASSERT_EQ(tokenizer_->decode(tokenizer_->encode(text)), text);
  }
}

TEST_F(Bpe, EveryTokenDecodesToBytesThatEncodeToIt) {
  // Not to one token where the pattern cuts inside it; but always back.
  int single = 0;
  for (std::int32_t id = 0; id < 50256; ++id) {
    const std::string bytes = tokenizer_->decode(Ids{id});
    const Ids again = tokenizer_->encode(bytes);
    ASSERT_EQ(tokenizer_->decode(again), bytes);
    single += again == Ids{id};
  }
  EXPECT_GT(single, 49000);
}

TEST_F(Bpe, AWordOfAMillionLettersIsNotQuadratic) {
  // With a quadratic merge this takes hours; the test's time limit tells.
  for (const std::string_view unit :
       {"a", " ", "ab", "\xF0\x9F\x98\x80", "!"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text)), text);
  }
}

TEST_F(Bpe, IdsOutsideTheVocabularyAreNamed) {
  expect_input_error(
      [&] {
        tokenizer_->decode(Ids{0, 50257});
      },
      {"token 50257", "position 1", "50256"});
  expect_input_error([&] { tokenizer_->decode(Ids{-5}); }, {"token -5"});
}

TEST(BpeFiles, DefectsAreNamedWithTheFile) {
  const ScratchFolder folder;
  const auto refuse = [&](std::initializer_list<std::string> parts) {
    expect_input_error([&] { BpeTokenizer{folder.path()}; }, parts);
  };
  refuse({"encoder.json", "No such file"});
  folder.write("encoder.json", "[1");
  refuse({"encoder.json", "JSON object"});
  folder.write("encoder.json", R"({"a": 0, "b": 0})");
  refuse({"encoder.json", "token b has id 0"});
  folder.write("encoder.json", R"({"a": 0, "b": 1})");
  refuse({"encoder.json", "no token for byte 0"});
  // The published ids with merges that do not belong to them.
  std::filesystem::copy_file(fetch_bpe_folder() / "encoder.json",
                             folder.path() / "encoder.json",
                             std::filesystem::copy_options::overwrite_existing);
  folder.write("vocab.bpe", "#version: 0.2\nh e\nqq zz\n");
  refuse({"vocab.bpe line 3", "qq zz"});
  folder.write("vocab.bpe", "#version: 0.2\n");
  refuse({"vocab.bpe", "none"});
}

}  // namespace
}  // namespace mumoe::data
