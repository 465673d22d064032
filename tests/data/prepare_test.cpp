#include "data/text/prepare.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "data/text/token_file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

/// The text of a split of byte tokens, with | for separators.
std::string text_of(const Split& split) {
  std::string text;
  const TokenFile file(split.path);
  for (const auto token : file.tokens()) {
    text += token == 0 ? '|' : static_cast<char>(token);
  }
  return text;
}

TEST(Corpus, DocumentsAreSortedByNameAndNeverEmpty) {
  const ScratchFolder folder;
  folder.write("b.txt", "b");
  folder.write("a/z.txt", "z");
  folder.write("empty.txt", "");
  folder.write("notes.md", "no");
  folder.write("B.txt", "B");
  const Corpus corpus = read_corpus(folder.path());
  std::vector<std::string> names;
  for (const auto& document : corpus.documents) names.push_back(document.name);
  EXPECT_EQ(names, (std::vector<std::string>{"B.txt", "a/z.txt", "b.txt"}));
  EXPECT_EQ(corpus.name, folder.path().filename().string());
}

TEST(Corpus, FingerprintFollowsNamesAndContents) {
  const ScratchFolder folder;
  const auto path = folder.write("a.txt", "one");
  const std::string first = read_corpus(folder.path()).fingerprint();
  EXPECT_EQ(read_corpus(folder.path()).fingerprint(), first);
  folder.write("a.txt", "two");
  EXPECT_NE(read_corpus(folder.path()).fingerprint(), first);
  folder.write("a.txt", "one");
  fs::rename(path, folder.path() / "b.txt");
  EXPECT_NE(read_corpus(folder.path()).fingerprint(), first);
}

TEST(Prepare, EveryTenthDocumentIsForValidation) {
  const ScratchFolder folder;
  for (char c = 'a'; c < 'a' + 12; ++c) {
    folder.write(std::string("in/") + c + ".txt", std::string(2, c));
  }
  const auto data = prepare((folder.path() / "in").string(),
                            ByteTokenizer(),
                            folder.path() / "out");
  EXPECT_EQ(text_of(data.val), "aa|kk|");
  EXPECT_EQ(text_of(data.train), "bb|cc|dd|ee|ff|gg|hh|ii|jj|ll|");
  EXPECT_EQ(data.val.documents, 2u);
  EXPECT_EQ(data.val.bytes, 4u);
  EXPECT_EQ(data.val.tokens, 6u);
  EXPECT_EQ(data.train.tokens, 30u);
  EXPECT_EQ(data.tokenizer, "bytes");
  EXPECT_EQ(data.vocabulary, 256);
  EXPECT_DOUBLE_EQ(data.val.bytes_per_token(), 4.0 / 6);
  const auto json =
      nlohmann::json::parse(read_file(folder.path() / "out/dataset.json"));
  EXPECT_DOUBLE_EQ(json["val"]["bytes_per_token"].get<double>(), 4.0 / 6);
  EXPECT_EQ(json["train"]["xxhash"], TokenFile(data.train.path).hash());
}

TEST(Prepare, TheOnlyDocumentIsCutAtALine) {
  const ScratchFolder folder;
  std::string text;
  for (int i = 0; i < 100; ++i) text += fmt::format("line {}\n", i);
  folder.write("in/only.txt", text);
  const auto data = prepare((folder.path() / "in").string(),
                            ByteTokenizer(),
                            folder.path() / "out");
  const std::string train = text_of(data.train);
  const std::string val = text_of(data.val);
  EXPECT_EQ(train.substr(0, train.size() - 1) + val, text + "|");
  EXPECT_TRUE(train.ends_with("\n|"));
  EXPECT_NEAR(val.size() / static_cast<double>(text.size()), 0.1, 0.02);
  folder.write("in/only.txt", "x");
  expect_input_error(
      [&] {
        prepare((folder.path() / "in").string(),
                ByteTokenizer(),
                folder.path() / "out");
      },
      {"only.txt", "1 bytes"});
}

TEST(Prepare, IsRepeatedOnlyWhereTheFilesAreDamaged) {
  const ScratchFolder folder;
  const std::string in = (folder.path() / "in").string();
  const fs::path out = folder.path() / "out";
  folder.write("in/a.txt", "aaa");
  folder.write("in/b.txt", "bbb");
  const ByteTokenizer tokenizer;
  const auto data = prepare(in, tokenizer, out);
  const auto written = [&] { return fs::last_write_time(data.train.path); };
  const auto long_ago = written() - std::chrono::hours(1);
  const auto remade = [&] {
    fs::last_write_time(data.train.path, long_ago);
    prepare(in, tokenizer, out);
    return written() != long_ago;
  };
  EXPECT_FALSE(remade());
  folder.write("out/train.bin", read_file(data.train.path).substr(0, 1026));
  EXPECT_TRUE(remade());
  folder.write("out/dataset.json", "{}");
  EXPECT_TRUE(remade());
}

TEST(Prepare, APreparedFolderIsUsedAsItIs) {
  const ScratchFolder folder;
  // nanoGPT's form, without dataset.json.
  folder.write("train.bin", std::string("a\0b\0", 4));
  folder.write("val.bin", std::string("c\0\0\0d\0e\0", 8));
  const auto data = prepare(folder.path().string(), ByteTokenizer());
  EXPECT_EQ(text_of(data.train), "ab");
  EXPECT_EQ(data.val.tokens, 4u);
  EXPECT_EQ(data.val.bytes, 3u);
  EXPECT_EQ(data.val.documents, 1u);
  EXPECT_FALSE(fs::exists(folder.path() / "dataset.json"));
}

TEST(Prepare, PreparedFoldersAreChecked) {
  const ScratchFolder folder;
  const auto use = [&](std::string_view tokenizer) {
    prepare((folder.path() / "out").string(), *make_tokenizer(tokenizer));
  };
  folder.write("in/a.txt", "aaa");
  folder.write("in/b.txt", "bbb");
  prepare((folder.path() / "in").string(),
          ByteTokenizer(),
          folder.path() / "out");
  EXPECT_NO_THROW(use("bytes"));
  expect_input_error([&] { use("gpt2"); }, {"out", "bytes", "gpt2"});
  folder.write("out/val.bin", "abab");
  expect_input_error([&] { use("bytes"); }, {"val.bin", "2 tokens"});
  fs::remove(folder.path() / "out/dataset.json");
  expect_input_error([&] { use("bytes"); }, {"val.bin", "position 0"});
  fs::remove(folder.path() / "out/val.bin");
  expect_input_error([&] { use("bytes"); }, {"val.bin", "No such file"});
  expect_input_error([&] { open_prepared(folder.path() / "out"); },
                     {"dataset.json", "No such file"});
}

TEST(Prepare, UnusableSourcesAreNamed) {
  const ScratchFolder folder;
  expect_input_error([] { prepare("novel", ByteTokenizer()); },
                     {"novel", "speeches", "train.bin", "mean novels?"});
  expect_input_error([&] { prepare(folder.path().string(), ByteTokenizer()); },
                     {folder.path().string(), "no text"});
  folder.write("empty.txt", "");
  expect_input_error([&] { prepare(folder.path().string(), ByteTokenizer()); },
                     {folder.path().string(), "1 empty"});
  folder.write("a.txt", "fine");
  folder.write("zero.txt", std::string("ab\0", 3));
  expect_input_error(
      [&] {
        prepare(folder.path().string(), ByteTokenizer(), folder.path() / "out");
      },
      {"zero.txt", "offset 2"});
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
}

/// The default corpus, as the default run sees it. Fetches it at first use.
class Speeches : public ::testing::TestWithParam<const char*> {};

TEST_P(Speeches, ComeBackFromTheirTokens) {
  const ScratchFolder folder;
  const auto tokenizer = make_tokenizer(GetParam());
  const auto data = prepare("speeches", *tokenizer, folder.path());
  EXPECT_EQ(data.source, "speeches");
  EXPECT_EQ(data.train.documents + data.val.documents, 249u);
  EXPECT_EQ(data.val.documents, 25u);
  const Corpus corpus = speeches();
  std::uint64_t bytes = 0;
  std::string texts;
  for (std::size_t i = 0; i < corpus.documents.size(); ++i) {
    const std::string text = read_file(corpus.documents[i].path);
    bytes += text.size();
    const std::int32_t end = tokenizer->end_of_document();
    if (i % 10 == 0) texts += text + tokenizer->decode({&end, 1});
  }
  EXPECT_EQ(data.train.bytes + data.val.bytes, bytes);
  const TokenFile val(data.val.path);
  val.check_vocabulary(tokenizer->vocabulary());
  std::vector<std::int32_t> ids(val.size());
  val.copy(0, std::span(ids));
  EXPECT_EQ(tokenizer->decode(ids), texts);
  RecordProperty("train_tokens", fmt::format("{}", data.train.tokens));
  RecordProperty("val_tokens", fmt::format("{}", data.val.tokens));
}

INSTANTIATE_TEST_SUITE_P(Tokenizers,
                         Speeches,
                         ::testing::Values("bytes", "gpt2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mumoe::data
