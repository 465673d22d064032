// A file of lines whose disk may be full.
#include "train/line_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "base/file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::train {
namespace {

using testing::ScratchFolder;

/// No file of this process may grow beyond so many bytes meanwhile.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_ = {};
};

TEST(LineFile, GoesOnBehindWhatIsThere) {
  const ScratchFolder folder;
  const auto path = folder.write("lines", "one\n");
  {
    LineFile file(path);
    file.append("two\n");
    EXPECT_EQ(read_file(path), "one\ntwo\n");
    file.replace_end(2, "o and more\n");
    file.sync();
    EXPECT_EQ(file.problem(), "");
  }
  EXPECT_EQ(read_file(path), "one\ntwo and more\n");
}

TEST(LineFile, WhatAFullDiskDoesNotTakeComesLater) {
  const ScratchFolder folder;
  const auto path = folder.write("lines", "");
  LineFile file(path);
  file.append("first\n");
  {
    const FullDisk full(9);
    file.append("second\n");
    EXPECT_NE(file.problem().find(path.string() + ": cannot write"),
              std::string::npos);
    // Partly on the disk, partly not.
    file.replace_end(5, "xxxxx yyyyy\n");
    file.append("third\n");
    EXPECT_NE(file.problem(), "");
    EXPECT_LE(read_file(path).size(), 9u);
  }
  file.append("fourth\n");
  EXPECT_EQ(file.problem(), "");
  EXPECT_EQ(read_file(path), "first\nsexxxxx yyyyy\nthird\nfourth\n");
}

TEST(LineFile, ThatCannotBeOpenedIsNamed) {
  const ScratchFolder folder;
  testing::expect_input_error([&] { LineFile(folder.path() / "none"); },
                              {"none: cannot open for writing"});
}

}  // namespace
}  // namespace mumoe::train
