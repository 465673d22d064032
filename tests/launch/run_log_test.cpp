#include "launch/run_log.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <filesystem>

#include "base/file.h"
#include "tests/support/scratch.h"

namespace mumoe::launch {
namespace {

using testing::ScratchFolder;

TEST(RunLog, KeepsWhatWasSaidBeforeItsFolderIsThereAndGoesOnWithIt) {
  const ScratchFolder folder;
  for (int run = 0; run < 2; ++run) {
    RunLog log;
    ::testing::internal::CaptureStdout();
    log.say("first");
    log.keep("second");
    log.open(folder.path());
    log.say("third");
    EXPECT_EQ(::testing::internal::GetCapturedStdout(), "first\nthird\n");
  }
  EXPECT_EQ(read_file(folder.path() / "log.txt"),
            "first\nsecond\nthird\nfirst\nsecond\nthird\n");
}

TEST(RunLog, WhatIsSaidCanBeReadAtOnceAlsoFromAPipe) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  std::fflush(stdout);
  const int terminal = ::dup(STDOUT_FILENO);
  ::dup2(pipe[1], STDOUT_FILENO);
  RunLog().say("first");
  ::dup2(terminal, STDOUT_FILENO);
  for (const int file : {pipe[1], terminal}) ::close(file);
  std::array<char, 16> read{};
  EXPECT_EQ(::read(pipe[0], read.data(), read.size()), 6);
  EXPECT_STREQ(read.data(), "first\n");
  ::close(pipe[0]);
}

TEST(RunLog, AFullDiskIsOneLineAndEndsNothing) {
  const ScratchFolder folder;
  std::filesystem::create_symlink("/dev/full", folder.path() / "log.txt");
  ::testing::internal::CaptureStderr();
  RunLog log;
  log.open(folder.path());
  for (int line = 0; line < 3; ++line) log.keep("a line");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "mumoe: " + (folder.path() / "log.txt").string() +
                ": cannot write: No space left on device; the run goes on, and "
                "what it says is not kept there\n");
}

TEST(RunLog, AFileThatMayNotBeThereIsOneLineToo) {
  ::testing::internal::CaptureStderr();
  RunLog log;
  log.keep("a line");
  log.open("/proc/none");
  log.keep("a line");
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(said.find("mumoe: /proc/none/log.txt: cannot write: "), 0) << said;
  EXPECT_EQ(said.find('\n'), said.size() - 1) << said;
}

}  // namespace
}  // namespace mumoe::launch
