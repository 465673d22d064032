#include "base/file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe {
namespace {

TEST(File, AtomicWriteReplacesAndLeavesNoTemporary) {
  const auto folder = std::filesystem::temp_directory_path() /
                      fmt::format("mumoe_file_test_{}", ::getpid());
  std::filesystem::create_directories(folder);
  const auto path = folder / "value";
  write_file_atomically(path, "first");
  write_file_atomically(path, "second");
  EXPECT_EQ(read_file(path), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  std::filesystem::remove_all(folder);
}

TEST(File, WritersOfOnePathDoNotMeet) {
  const testing::ScratchFolder folder;
  const auto path = folder.path() / "value";
  {
    // Both are open at once, and either may be committed first.
    AtomicFile first(path), second(path);
    first.write("first");
    second.write("second, longer");
    second.commit();
    EXPECT_EQ(read_file(path), "second, longer");
    first.commit();
    EXPECT_EQ(read_file(path), "first");
  }
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 50; ++n) {
        write_file_atomically(path, std::string(1000, 'a' + i));
      }
    });
  }
  threads.clear();
  const std::string text = read_file(path);
  EXPECT_EQ(text, std::string(1000, text.at(0)));
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(folder.path()), {}),
      1);
}

TEST(File, WhatACrashLeavesIsWrittenOverAndOthersFilesAreNot) {
  const testing::ScratchFolder folder;
  const auto path = folder.path() / "value";
  const auto mine = folder.write("value.tmp", "the user's");
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(path);
    file.write("a part");
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto files = [&] {
    return std::distance(std::filesystem::directory_iterator(folder.path()),
                         {});
  };
  EXPECT_EQ(files(), 2);
  write_file_atomically(path, "x");
  EXPECT_EQ(read_file(path), "x");
  EXPECT_EQ(files(), 2);
  EXPECT_EQ(read_file(mine), "the user's");
}

TEST(File, ErrorsNameThePath) {
  for (const auto& action :
       {std::function<void()>([] { read_file("/nonexistent/a"); }),
        std::function<void()>(
            [] { write_file_atomically("/nonexistent/a", "x"); })}) {
    try {
      action();
      FAIL() << "nothing was thrown";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("/nonexistent/a"),
                std::string::npos);
    }
  }
}

TEST(File, WhatIsNoRegularFileIsRefusedAtOnce) {
  const testing::ScratchFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  testing::expect_input_error([&] { read_file(pipe); },
                              {pipe.string(), "Not a regular file"});
  testing::expect_input_error([] { read_file("/dev/zero"); }, {"/dev/zero"});
  testing::expect_input_error([&] { read_file(folder.path()); },
                              {"Is a directory"});
  testing::expect_input_error([] { read_file(std::string(5000, 'x')); },
                              {"cannot read: File name too long"});
}

}  // namespace
}  // namespace mumoe
