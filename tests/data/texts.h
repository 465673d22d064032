#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "data/text/prepare.h"
#include "tests/support/scratch.h"

namespace mumoe::data {

/// Twenty texts in FOLDER/`name`; their path.
inline std::string write_texts(const testing::ScratchFolder& folder,
                               const std::string& name) {
  for (int i = 10; i < 30; ++i) {
    folder.write(fmt::format("{}/{}.txt", name, i),
                 fmt::format("Text {} of some, and no more.\n", i));
  }
  return (folder.path() / name).string();
}

/// Whether `prepare` writes train.bin anew.
inline bool remade(const std::string& in, const std::filesystem::path& out) {
  namespace fs = std::filesystem;
  const auto before = read_file(out / "train.bin");
  const auto long_ago =
      fs::last_write_time(out / "train.bin") - std::chrono::hours(1);
  fs::last_write_time(out / "train.bin", long_ago);
  prepare(in, ByteTokenizer(), out);
  EXPECT_EQ(read_file(out / "train.bin").size(), before.size());
  return fs::last_write_time(out / "train.bin") != long_ago;
}

}  // namespace mumoe::data
