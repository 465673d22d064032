// What is in checkpoints/, among whatever people put there.
#include "run/checkpoint_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::ScratchFolder;

void make_checkpoint(const ScratchFolder& folder, const std::string& name) {
  folder.write(name + "/" + kManifest, "what is there");
  folder.write(name + "/rank_00000.safetensors", "weights");
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

std::string newest(const ScratchFolder& folder) {
  const auto found = latest_checkpoint(folder.path());
  return found ? found->filename().string() : "none";
}

TEST(CheckpointFolder, OnlyStepAndDigitsCountInTheOrderOfNumbers) {
  const ScratchFolder folder;
  EXPECT_EQ(newest(folder), "none");
  EXPECT_EQ(latest_checkpoint(folder.path() / "none"), std::nullopt);
  for (const char* name : {"step_best",
                           "step_2_good",
                           "step_",
                           "step_-5",
                           "step_+5",
                           "step_0x99",
                           "step_99 ",
                           "step_99999999999999999999999",
                           "step_00000009.bak",
                           "step_00000009.tmp",
                           ".step_00000009.tmp",
                           "Step_00000009",
                           "xstep_00000009",
                           "step_٩"}) {
    make_checkpoint(folder, name);
  }
  EXPECT_EQ(newest(folder), "none");
  folder.write("step_00000007", "a file");
  fs::create_directory(folder.path() / "step_00000008");
  EXPECT_EQ(newest(folder), "none");
  make_checkpoint(folder, "step_00000004");
  EXPECT_EQ(newest(folder), "step_00000004");
  // 8 digits are a form, not a limit; numbers, not letters, are compared.
  make_checkpoint(folder, "step_99999999");
  make_checkpoint(folder, "step_100000000");
  EXPECT_EQ(newest(folder), "step_100000000");
  EXPECT_EQ(list_checkpoints(folder.path()).size(), 3u);
  // Of one step, what the program wrote.
  make_checkpoint(folder, "step_0100000000");
  EXPECT_EQ(newest(folder), "step_100000000");
}

TEST(CheckpointFolder, WhatTheProgramDidNotMakeStays) {
  const ScratchFolder folder;
  const std::set<std::string> foreign = {"step_best",
                                         "step_2_good",
                                         "step_00000004.bak",
                                         "step_00000001.tmp",
                                         "plots.tmp",
                                         "step_3"};
  for (const auto& name : foreign) make_checkpoint(folder, name);
  folder.write("notes.tmp", "thoughts");
  folder.write(".step_00000042.tmp/thoughts", "of a person");
  for (int step = 1; step <= 8; ++step) {
    make_checkpoint(folder, fmt::format("step_0000000{}", step));
  }
  folder.write("step_00000002/notes", "the good one");
  make_checkpoint(folder, "elsewhere");
  fs::remove_all(folder.path() / "step_00000001");
  fs::create_directory_symlink(folder.path() / "elsewhere",
                               folder.path() / "step_00000001");
  make_checkpoint(folder, ".step_00000006.tmp");  // of a save that was killed
  fs::create_directory(folder.path() / ".step_00000007.tmp");

  remove_leftovers(real_disk(), folder.path());
  remove_old_checkpoints(real_disk(), folder.path(), 8, 2);
  auto expected = foreign;
  expected.insert({"notes.tmp",
                   ".step_00000042.tmp",
                   "elsewhere",
                   "step_00000001",
                   "step_00000002",
                   "step_00000007",
                   "step_00000008"});
  EXPECT_EQ(names_in(folder.path()), expected);
  for (const char* kept : {"elsewhere", "step_00000002", "step_best"}) {
    EXPECT_TRUE(fs::exists(folder.path() / kept / kManifest)) << kept;
  }
}

TEST(CheckpointFolder, TheNewestOfTheRunIsNeverRemoved) {
  const ScratchFolder folder;
  for (const char* name :
       {"step_00000002", "step_00000004", "step_00000900", "step_00000901"}) {
    make_checkpoint(folder, name);
  }
  remove_old_checkpoints(real_disk(), folder.path(), 4, 1);
  EXPECT_EQ(names_in(folder.path()),
            (std::set<std::string>{"step_00000004",
                                   "step_00000900",
                                   "step_00000901"}));
}

TEST(CheckpointFolder, NamesInThePlaceOfCheckpointsToComeAreFound) {
  const ScratchFolder folder;
  make_checkpoint(folder, "step_00000006");
  folder.write("step_00000007", "a file");
  fs::create_directory(folder.path() / "step_00000009");
  fs::create_directory(folder.path() / "step_10");
  fs::create_directory(folder.path() / "step_00000003");
  EXPECT_EQ(names_in_the_way(folder.path(), 4, 9),
            (std::vector<std::string>{"step_00000007", "step_00000009"}));
  EXPECT_TRUE(names_in_the_way(folder.path(), 7, 8).empty());
}

TEST(CheckpointFolder, OneWithoutItsManifestIsDamagedNotSomebodysOwn) {
  const ScratchFolder folder;
  folder.write("step_00000007/rank_00001.safetensors", "weights");
  folder.write("step_00000008/notes.txt", "thoughts");
  EXPECT_EQ(newest(folder), "step_00000007");
  EXPECT_EQ(names_in_the_way(folder.path(), 4, 9),
            (std::vector<std::string>{"step_00000008"}));
}

// Checkpoints may be there: a run must not begin over them.
TEST(CheckpointFolder, ThatCannotBeListedIsNotEmpty) {
  const ScratchFolder folder;
  fs::create_symlink("loop", folder.path() / "loop");
  testing::expect_input_error(
      [&] { latest_checkpoint(folder.path() / "loop"); },
      {(folder.path() / "loop").string() + ": cannot list: "});
  EXPECT_EQ(latest_checkpoint(folder.write("file", "")), std::nullopt);
}

TEST(CheckpointFolder, IsTriedWithoutLeavingATrace) {
  const ScratchFolder folder;
  const auto checkpoints = folder.path() / "new" / "checkpoints";
  probe_checkpoint_folder(checkpoints);
  EXPECT_TRUE(fs::is_empty(checkpoints));
  folder.write("new/checkpoints/.probe.tmp/manifest.json", "of a crash");
  probe_checkpoint_folder(checkpoints);
  EXPECT_TRUE(fs::is_empty(checkpoints));
  const auto in_the_way = folder.write("file", "");
  fs::create_symlink(folder.path() / "nowhere/at/all", folder.path() / "link");
  for (const auto& bad : {in_the_way, in_the_way / "below"}) {
    testing::expect_input_error(
        [&] { probe_checkpoint_folder(bad); },
        {bad.string() + ": checkpoints cannot be written here: "});
  }
  // Somebody's own things under the name of the trial.
  folder.write("new/checkpoints/.probe/mine", "");
  testing::expect_input_error([&] { probe_checkpoint_folder(checkpoints); },
                              {"checkpoints cannot be written here: "});
  EXPECT_TRUE(fs::exists(checkpoints / ".probe/mine"));
}

}  // namespace
}  // namespace mumoe::run
