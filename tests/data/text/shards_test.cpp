#include "data/text/shards.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/file.h"
#include "data/text/prepare.h"
#include "data/text/token_windows.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

/// Bytes, slowly where asked to, and counting what it is given.
class CountingTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text) const override {
    bytes += text.size();
    if (fails_after > 0 && bytes > fails_after) {
      fail<InputError>("stopped at offset {}", text.size());
    }
    return plain_.encode(text);
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    return plain_.decode(ids);
  }
  std::int64_t vocabulary() const override { return 256; }
  std::int32_t end_of_document() const override { return 0; }
  std::string_view name() const override { return "bytes"; }

  mutable std::uint64_t bytes = 0;
  std::uint64_t fails_after = 0;

 private:
  ByteTokenizer plain_;
};

class Shards : public ::testing::Test {
 protected:
  /// Some 60 kB in 60 documents, and a long one of several blocks.
  void SetUp() override {
    for (int i = 0; i < 60; ++i) {
      std::string text;
      while (text.size() < 1000) text += fmt::format("text {} word ", i);
      folder_.write(fmt::format("in/{:02}.txt", i), text);
    }
    std::string text;
    for (int i = 0; text.size() < 2'500'000; ++i) text += fmt::format("{} ", i);
    folder_.write("in/55.txt", text);
  }

  PreparedData prepare_to(const std::string& name,
                          const Tokenizer& tokenizer,
                          std::uint64_t limit) const {
    PrepareOptions options;
    options.out_folder = folder_.path() / name;
    options.shard_tokens = limit;
    options.threads = 1;
    return prepare((folder_.path() / "in").string(), tokenizer, options);
  }

  static std::vector<std::uint16_t> tokens_of(const Split& split) {
    std::vector<std::uint16_t> tokens;
    for (const TokenFile& file : split.open()) {
      tokens.insert(tokens.end(), file.tokens().begin(), file.tokens().end());
    }
    return tokens;
  }

  ScratchFolder folder_;
};

TEST_F(Shards, AreFullButTheLastAndTogetherTheSame) {
  const ByteTokenizer tokenizer;
  const auto whole = prepare_to("whole", tokenizer, 100'000'000);
  ASSERT_EQ(whole.train.shards.size(), 1u);
  EXPECT_EQ(whole.train.path.filename(), "train.bin");
  const auto cut = prepare_to("cut", tokenizer, 100'000);
  ASSERT_EQ(cut.train.shards.size(), (whole.train.tokens + 99'999) / 100'000);
  for (std::size_t i = 0; i < cut.train.shards.size(); ++i) {
    EXPECT_EQ(cut.train.shards[i].file, fmt::format("train_{:06}.bin", i));
    EXPECT_EQ(cut.train.shards[i].tokens == 100'000,
              i + 1 < cut.train.shards.size());
  }
  EXPECT_EQ(tokens_of(cut.train), tokens_of(whole.train));
  EXPECT_EQ(tokens_of(cut.val), tokens_of(whole.val));
  EXPECT_EQ(cut.train.tokens, whole.train.tokens);
  EXPECT_EQ(cut.train.documents, whole.train.documents);
  EXPECT_EQ(cut.val.bytes, whole.val.bytes);
  // Used again, from the texts and as a folder.
  EXPECT_EQ(prepare_to("cut", tokenizer, 100'000).train.hash, cut.train.hash);
  const auto used = prepare((folder_.path() / "cut").string(), tokenizer);
  EXPECT_EQ(used.train.hash, cut.train.hash);
  EXPECT_EQ(used.train.shards.size(), cut.train.shards.size());
}

TEST_F(Shards, OneThatIsJustFullIsTheOnly) {
  const ByteTokenizer tokenizer;
  const auto whole = prepare_to("whole", tokenizer, 100'000'000);
  const auto full = prepare_to("full", tokenizer, whole.train.tokens);
  EXPECT_EQ(full.train.path.filename(), "train.bin");
  const auto less = prepare_to("less", tokenizer, whole.train.tokens - 1);
  ASSERT_EQ(less.train.shards.size(), 2u);
  EXPECT_EQ(less.train.shards[1].tokens, 1u);
}

TEST_F(Shards, WhatWasInterruptedGoesOnBehindTheShards) {
  const ByteTokenizer plain;
  const auto whole = prepare_to("whole", plain, 300'000);
  CountingTokenizer tokenizer;
  for (const std::uint64_t fails_after : {1u, 400'000u, 2'200'000u}) {
    tokenizer.fails_after = fails_after;
    tokenizer.bytes = 0;
    expect_input_error([&] { prepare_to("out", tokenizer, 300'000); },
                       {".txt", "stopped at offset"});
    expect_input_error(
        [&] { prepare((folder_.path() / "out").string(), plain); },
        {"dataset.json", "prepare them again"});
  }
  const auto before =
      fs::last_write_time(folder_.path() / "out/train_000000.bin");
  tokenizer.fails_after = 0;
  tokenizer.bytes = 0;
  const auto resumed = prepare_to("out", tokenizer, 300'000);
  EXPECT_EQ(fs::last_write_time(folder_.path() / "out/train_000000.bin"),
            before);
  EXPECT_LT(tokenizer.bytes, whole.train.bytes + whole.val.bytes - 300'000);
  for (const auto& entry : fs::directory_iterator(folder_.path() / "whole")) {
    const auto name = entry.path().filename();
    if (name == "prepare.lock") continue;
    EXPECT_EQ(read_file(folder_.path() / "out" / name), read_file(entry.path()))
        << name;
  }
}

TEST_F(Shards, AnInterruptedOneOfOtherTextsOrALimitIsMadeAnew) {
  CountingTokenizer tokenizer;
  tokenizer.fails_after = 1'400'000;
  expect_input_error([&] { prepare_to("out", tokenizer, 100'000); }, {});
  ASSERT_TRUE(fs::exists(folder_.path() / "out/train_000009.bin"));
  tokenizer.fails_after = 0;
  folder_.write("in/00.txt", "Another text altogether.");
  const auto made = prepare_to("out", tokenizer, 2'000'000);
  EXPECT_EQ(made.train.shards.size(), 2u);
  EXPECT_FALSE(fs::exists(folder_.path() / "out/train_000009.bin"));
  const auto whole = prepare_to("whole", tokenizer, 100'000'000);
  EXPECT_EQ(tokens_of(made.train), tokens_of(whole.train));
}

TEST_F(Shards, ADamagedOneIsWrittenAgain) {
  CountingTokenizer tokenizer;
  tokenizer.fails_after = 1'400'000;
  expect_input_error([&] { prepare_to("out", tokenizer, 100'000); }, {});
  tokenizer.fails_after = 0;
  std::string bytes = read_file(folder_.path() / "out/train_000003.bin");
  bytes[5000] ^= 1;
  folder_.write("out/train_000003.bin", bytes);
  const auto made = prepare_to("out", tokenizer, 100'000);
  const auto whole = prepare_to("whole", tokenizer, 100'000'000);
  EXPECT_EQ(tokens_of(made.train), tokens_of(whole.train));
  // In a folder that is finished it is named, or made anew from the texts.
  folder_.write("out/train_000003.bin", bytes);
  expect_input_error(
      [&] { prepare((folder_.path() / "out").string(), tokenizer); },
      {"train_000003.bin", "dataset.json"});
  EXPECT_EQ(tokens_of(prepare_to("out", tokenizer, 100'000).train),
            tokens_of(whole.train));
}

TEST_F(Shards, AKillAtAnyMomentGoesOn) {
  const ByteTokenizer tokenizer;
  const auto whole = prepare_to("whole", tokenizer, 200'000);
  for (int round = 0; round < 12; ++round) {
    if (round % 4 == 0) fs::remove_all(folder_.path() / "out");
    const pid_t child = ::fork();
    if (child == 0) {
      prepare_to("out", tokenizer, 200'000);
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2 + 5 * round));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    if (round % 2 == 0) continue;
    const auto made = prepare_to("out", tokenizer, 200'000);
    ASSERT_EQ(tokens_of(made.train), tokens_of(whole.train));
    ASSERT_EQ(made.val.hash, whole.val.hash);
    ASSERT_EQ(
        std::distance(fs::directory_iterator(folder_.path() / "out"), {}),
        std::distance(fs::directory_iterator(folder_.path() / "whole"), {}));
  }
}

TEST_F(Shards, WindowsReachOverThem) {
  const ByteTokenizer tokenizer;
  const auto whole = prepare_to("whole", tokenizer, 100'000'000);
  const auto cut = prepare_to("cut", tokenizer, 77'777);
  const TokenFile one(whole.train.path);
  const auto many = cut.train.open();
  const TokenWindows expected(one, 1000, 5);
  const TokenWindows windows(TokenView(many), 1000, 5);
  ASSERT_EQ(windows.size(), expected.size());
  for (const std::uint64_t index : {0, 76, 77, 78, 155, 1000, 2000, 5000}) {
    const auto a = windows.make(std::vector{index, index + 1});
    const auto b = expected.make(std::vector{index, index + 1});
    EXPECT_EQ(a.input, b.input) << index;
    EXPECT_EQ(a.target, b.target) << index;
  }
  std::vector<std::int32_t> out(10);
  expect_input_error(
      [&] { TokenView(many).copy(one.size() - 9, std::span(out)); },
      {"train_000000.bin", "expected an end"});
}

TEST_F(Shards, ThoseOfLlmcAreUsedAsTheyAre) {
  const ScratchFolder other;
  std::vector<std::uint16_t> tokens(2000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = 'a' + i % 20;
  for (const char* name : {"fine_web_train_000001.bin",
                           "fine_web_train_000002.bin",
                           "fine_web_val_000000.bin"}) {
    tokens[0] = name[15];
    write_token_file(other.path() / name, tokens);
  }
  const auto data = prepare(other.path().string(), ByteTokenizer());
  ASSERT_EQ(data.train.shards.size(), 2u);
  EXPECT_EQ(data.train.tokens, 4000u);
  EXPECT_EQ(data.train.shards[1].file, "fine_web_train_000002.bin");
  EXPECT_EQ(data.val.tokens, 2000u);
  fs::rename(other.path() / "fine_web_train_000002.bin",
             other.path() / "train_000002.bin");
  expect_input_error([&] { prepare(other.path().string(), ByteTokenizer()); },
                     {"shards of several sets", "fine_web_train_000001.bin"});
  // A shard of another vocabulary.
  fs::rename(other.path() / "train_000002.bin",
             other.path() / "fine_web_train_000002.bin");
  tokens[777] = 300;
  write_token_file(other.path() / "fine_web_train_000002.bin", tokens);
  expect_input_error(
      [&] { prepare(other.path().string(), ByteTokenizer()); },
      {"fine_web_train_000002.bin", "token 300 at position 777", "below 256"});
}

}  // namespace
}  // namespace mumoe::data
