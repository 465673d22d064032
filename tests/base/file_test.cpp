#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe {
namespace {

TEST(File, AtomicWriteReplacesAndLeavesNoTemporary) {
  const auto folder = std::filesystem::temp_directory_path() /
                      concat("mumoe_file_test_", ::getpid());
  std::filesystem::create_directories(folder);
  const auto path = folder / "value";
  write_file_atomically(path, "first");
  write_file_atomically(path, "second");
  EXPECT_EQ(read_file(path), "second");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  std::filesystem::remove_all(folder);
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
