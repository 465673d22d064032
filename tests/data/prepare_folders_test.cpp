#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/file.h"
#include "base/file_lock.h"
#include "data/text/prepare.h"
#include "data/text/token_file.h"
#include "data/text/token_folder.h"
#include "tests/data/texts.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

TEST(PrepareAtOnce, ManyThreadsAndProcessesMakeItOnce) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        ::_exit(prepare(in, ByteTokenizer(), out).val.documents == 2 ? 0 : 1);
      } catch (...) {
        ::_exit(2);
      }
    }
    children.push_back(child);
  }
  std::atomic<int> done{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] {
        try {
          done += prepare(in, ByteTokenizer(), out).val.documents == 2;
        } catch (const std::exception& error) {
          ADD_FAILURE() << error.what();
        }
      });
    }
  }
  EXPECT_EQ(done, 6);
  for (const pid_t child : children) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_FALSE(remade(in, out));
  // dataset.json, train.bin, val.bin and the lock.
  EXPECT_EQ(std::distance(fs::directory_iterator(out), {}), 4);
}

TEST(PrepareAtOnce, AFolderBegunByAnotherAtThisMomentIsNotForeign) {
  const ScratchFolder folder;
  const PreparedData wanted;
  constexpr int kFolders = 100;
  const auto path = [&](int i) { return folder.path() / std::to_string(i); };
  for (int i = 0; i < kFolders; ++i) fs::create_directory(path(i));
  std::atomic<int> looked_at{-1};
  // In the order in which a preparation writes them.
  std::jthread other([&](const std::stop_token& stop) {
    for (int i = 0; i < kFolders; ++i) {
      while (looked_at < i && !stop.stop_requested()) {
        std::this_thread::yield();
      }
      std::ofstream(path(i) / "dataset.json") << R"({"format": 1})";
      std::ofstream(path(i) / "train.bin");
    }
  });
  for (int i = 0; i < kFolders; ++i) {
    looked_at = i;
    do {
      ASSERT_NO_THROW(require_own_folder(path(i), wanted)) << "folder " << i;
    } while (!is_there(path(i) / "train.bin"));
  }
}

TEST(PrepareAtOnce, TheSecondWaitsAndUsesWhatTheFirstMade) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  const fs::path elsewhere = folder.path() / "elsewhere";
  prepare(in, ByteTokenizer(), elsewhere);
  fs::create_directories(out);
  auto lock = FileLock::try_lock(out / "prepare.lock");
  std::atomic<bool> ended{false};
  std::thread second([&] {
    prepare(in, ByteTokenizer(), out);
    ended = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(ended);
  for (const char* file : {"train.bin", "val.bin", "dataset.json"}) {
    fs::copy_file(elsewhere / file, out / file);
  }
  const auto written = fs::last_write_time(out / "train.bin");
  lock.reset();
  second.join();
  EXPECT_EQ(fs::last_write_time(out / "train.bin"), written);
}

TEST(PrepareAtOnce, WhatIsIntactNeedsNoLockAndNoRightToWrite) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  fs::remove(out / "prepare.lock");
  EXPECT_FALSE(remade(in, out));
  EXPECT_FALSE(fs::exists(out / "prepare.lock"));
  const auto lock = FileLock::try_lock(out / "prepare.lock");
  EXPECT_FALSE(remade(in, out)) << "waits for a lock that it does not need";
}

TEST(PrepareAtOnce, ACrashAtAnyPointLeavesNothingThatBlocksOrPasses) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  const std::string good = read_file(out / "dataset.json");
  // As it is between train.bin and val.bin, and before both.
  for (const bool train_is_there : {true, false}) {
    folder.write("out/dataset.json",
                 R"({"format": 1, "unfinished": "process 1 on host h"})");
    fs::remove(out / "val.bin");
    if (!train_is_there) fs::remove(out / "train.bin");
    folder.write("out/train.bin.mumoe-0.tmp", "part of");
    expect_input_error([&] { prepare(out.string(), ByteTokenizer()); },
                       {"dataset.json", "process 1 on host h", "again"});
    prepare(in, ByteTokenizer(), out);
    EXPECT_EQ(read_file(out / "dataset.json"), good);
    EXPECT_EQ(std::distance(fs::directory_iterator(out), {}), 4);
    EXPECT_NO_THROW(prepare(out.string(), ByteTokenizer()));
  }
}

TEST(PrepareAtOnce, AKillAtAnyMomentIsMadeGood) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  folder.write("in/large.txt", std::string(4'000'000, 'x'));
  const fs::path whole = folder.path() / "whole";
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), whole);
  for (int milliseconds = 0; milliseconds < 60; milliseconds += 4) {
    fs::remove_all(out);
    const pid_t child = ::fork();
    if (child == 0) {
      prepare(in, ByteTokenizer(), out);
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    prepare(in, ByteTokenizer(), out);
    for (const char* file : {"train.bin", "val.bin", "dataset.json"}) {
      ASSERT_EQ(read_file(out / file), read_file(whole / file));
    }
    ASSERT_EQ(std::distance(fs::directory_iterator(out), {}), 4);
  }
}

TEST(PrepareAtOnce, AFolderInPreparationIsWaitedFor) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  const std::string good = read_file(out / "dataset.json");
  auto lock = FileLock::try_lock(out / "prepare.lock");
  folder.write("out/dataset.json",
               R"({"format": 1, "unfinished": "process 1 on host h"})");
  std::thread reader([&] {
    EXPECT_EQ(prepare(out.string(), ByteTokenizer()).val.documents, 2u);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  write_file_atomically(out / "dataset.json", good);
  lock.reset();
  reader.join();
}

TEST(TokenFolder, TextsBesideTheTokensAreRefusedAndTextsBelowAreTold) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  folder.write("out/raw/a.txt", "a");
  const auto notes = prepare(out.string(), ByteTokenizer()).notes;
  ASSERT_FALSE(notes.empty());
  EXPECT_EQ(notes[0], "1 text below the token files, not read (raw/a.txt)");
  folder.write("out/added.txt", "more");
  expect_input_error([&] { prepare(out.string(), ByteTokenizer()); },
                     {out.string(), "added.txt and 1 more", "expected one"});
  // nanoGPT's folders hold the text that their tokens were made of.
  fs::remove(out / "dataset.json");
  EXPECT_EQ(prepare(out.string(), ByteTokenizer()).notes[0],
            "2 texts beside the token files, not read (added.txt, ...)");
}

/// A bare file of uint16: `count` tokens, i % `below`.
std::string bare_tokens(int count, int below) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    bytes += static_cast<char>(i % below & 255);
    bytes += static_cast<char>(i % below >> 8);
  }
  return bytes;
}

TEST(TokenFolder, VocabulariesOfTheirOwnAreNamed) {
  const ScratchFolder folder;
  const auto use = [&](std::string_view tokenizer) {
    prepare(folder.path().string(), *make_tokenizer(tokenizer));
  };
  for (const char* file : {"train.bin", "val.bin"}) {
    folder.write(file, bare_tokens(3000, 65));
  }
  expect_input_error([&] { use("gpt2"); },
                     {"train.bin", "3000 tokens", "below 65", "gpt2"});
  // Bytes of letters would be fine, ids 1 to 31 are not.
  for (const char* file : {"train.bin", "val.bin"}) {
    folder.write(file, bare_tokens(3000, 40));
  }
  expect_input_error([&] { use("bytes"); },
                     {"train.bin", "control characters"});
  folder.write("meta.pkl", "x");
  expect_input_error([&] { use("bytes"); },
                     {"meta.pkl", "character-level", ".txt"});
  for (const char* file : {"train.bin", "val.bin"}) {
    folder.write(file, bare_tokens(3000, 2000));
  }
  fs::remove(folder.path() / "meta.pkl");
  EXPECT_NO_THROW(use("gpt2"));
  expect_input_error([&] { use("bytes"); }, {"train.bin", "token 256"});
}

TEST(TokenFolder, DamagedDatasetJsonIsToldWithoutTheLibrarysName) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  for (const char* text : {"{}", "{", "[1]", "\xff\n", "{\"format\": \"x\"}"}) {
    folder.write("out/dataset.json", text);
    try {
      prepare(out.string(), ByteTokenizer());
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      const std::string line = error.what();
      EXPECT_NE(line.find("dataset.json"), std::string::npos) << line;
      EXPECT_EQ(line.find("json.exception"), std::string::npos) << line;
      EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    }
  }
}

}  // namespace
}  // namespace mumoe::data
