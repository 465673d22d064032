// A checkpoint of several files becomes one of one file.
#include "run/consolidate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mumoe/safetensors.h"
#include "run/manifest.h"
#include "run/named_checkpoint.h"
#include "tests/run/inspect/made_checkpoint.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using testing::expect_input_error;
using testing::flip;
using testing::made_state;
using testing::made_tensors;
using testing::make_checkpoint;
using testing::ScratchFolder;
namespace fs = std::filesystem;

void expect_whole(const fs::path& checkpoint, std::int64_t step) {
  const auto tensors = made_tensors();
  const NamedTensors found = read_safetensors(checkpoint / kStateFile);
  ASSERT_EQ(found.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& there = found.at(name);
    EXPECT_EQ(there.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(there, tensor)) << name;
  }
  RunState state = made_state(0);
  state.step = step;
  EXPECT_EQ(read_run_state(checkpoint), state);
  EXPECT_EQ(std::distance(fs::directory_iterator(checkpoint), {}), 1);
}

TEST(Consolidate, AllTensorsAndWhereTheRunStands) {
  const ScratchFolder folder;
  const auto from = make_checkpoint(folder.path(), 7);
  const fs::path to = folder.path() / "a/run/checkpoints/step_00000007";
  const auto lines = consolidate(from, to.string() + "/");
  expect_whole(to, 7);
  EXPECT_NE(lines.front().find("step 7, 2 files"), std::string::npos);
  EXPECT_EQ(named_checkpoint(folder.path() / "a/run").folder, to);
  // Again, of what it has made, and into a folder that is empty.
  fs::create_directory(folder.path() / "again");
  consolidate(to / kStateFile, folder.path() / "again");
  expect_whole(folder.path() / "again", 7);
}

TEST(Consolidate, OfARunTheNewestThatIsWhole) {
  const ScratchFolder folder;
  const fs::path run = folder.path() / "run";
  make_checkpoint(run / "checkpoints", 4);
  const auto newest = make_checkpoint(run / "checkpoints", 8);
  consolidate(run, folder.path() / "eight");
  expect_whole(folder.path() / "eight", 8);
  flip(newest / "rank_00001.safetensors", kBlockBytes + 1);
  const auto lines = consolidate(run, folder.path() / "four");
  expect_whole(folder.path() / "four", 4);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_NE(lines[1].find("adam_m.wte: bytes 4194304"), std::string::npos)
      << lines[1];
  EXPECT_NE(lines[1].find("step_00000004 is taken instead"), std::string::npos)
      << lines[1];
}

TEST(Consolidate, LeavesNothingWhereItFails) {
  const ScratchFolder folder;
  const auto from = make_checkpoint(folder.path() / "from", 7);
  flip(from / "rank_00001.safetensors", 2 * kBlockBytes + 1);
  expect_input_error([&] { consolidate(from, folder.path() / "new/one/two"); },
                     {"rank_00001.safetensors: adam_m.wte: bytes 8388608"});
  EXPECT_FALSE(fs::exists(folder.path() / "new"));
  fs::create_directory(folder.path() / "mine");
  expect_input_error([&] { consolidate(from, folder.path() / "mine/one"); },
                     {"adam_m.wte"});
  EXPECT_TRUE(fs::is_empty(folder.path() / "mine"));
}

TEST(Consolidate, WhatIsThereStays) {
  const ScratchFolder folder;
  const auto from = make_checkpoint(folder.path() / "from", 7);
  folder.write("mine/notes.txt", "thoughts");
  for (const char* to : {"mine", "mine/notes.txt"}) {
    expect_input_error([&] { consolidate(from, folder.path() / to); },
                       {to, "is there already"});
  }
  expect_input_error([&] { consolidate(from, from); }, {"is there already"});
  expect_input_error(
      [&] { consolidate(from, folder.path() / "mine/notes.txt/new"); },
      {"mine/notes.txt"});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path() / "mine"), {}),
            1);
  expect_input_error(
      [&] { consolidate(folder.path() / "mine", folder.path() / "to"); },
      {"mine: is neither a run directory nor a checkpoint"});
  expect_input_error(
      [&] { consolidate(folder.path() / "none", folder.path() / "to"); },
      {"none: is not there"});
  fs::create_directories(folder.path() / "run/checkpoints");
  expect_input_error(
      [&] { consolidate(folder.path() / "run", folder.path() / "to"); },
      {"run: holds no checkpoint"});
  EXPECT_FALSE(fs::exists(folder.path() / "to"));
}

}  // namespace
}  // namespace mumoe::run
