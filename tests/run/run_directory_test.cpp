#include "run/run_directory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "run/checkpoint_folder.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::ScratchFolder;

/// A run of one rank in `out`.
struct OneRun {
  explicit OneRun(const fs::path& out) {
    options.trainer.out = out;
    options.trainer.steps = 20;
    data.train.hash = "a";
  }
  std::vector<std::string> prepare(RunDirectory& directory) {
    return directory.prepare({options, data, mesh, hosts, step, bytes});
  }

  Options options;
  DataFacts data;
  std::unique_ptr<dist::Communicator> self =
      dist::make_self_communicator(at::kCPU);
  dist::ProcessMesh mesh{*self, 1, 1};
  dist::HostMap hosts{mesh};
  std::int64_t step = 0;
  double bytes = 1000;
};

bool says(const std::vector<std::string>& lines, const std::string& part) {
  return std::ranges::any_of(lines, [&](const auto& line) {
    return line.find(part) != std::string::npos;
  });
}

TEST(RunDirectory, BelongsToOneRunAtATime) {
  const ScratchFolder folder;
  const fs::path out = folder.path() / "run";
  OneRun run(out);
  auto first = std::make_unique<RunDirectory>(out);
  run.prepare(*first);
  testing::expect_input_error([&] { RunDirectory second(out); },
                              {"train.out = " + out.string() + ": process ",
                               " trains there; wait for its end"});
  first.reset();
  RunDirectory second(out);
}

// Both found no folder to take hold of.
TEST(RunDirectory, TheSecondOfTwoThatBeginAtOnceIsRefused) {
  const ScratchFolder folder;
  const fs::path out = folder.path() / "run";
  RunDirectory first(out), second(out);
  OneRun run(out);
  run.prepare(first);
  const std::string config = read_file(out / "config.cfg");
  OneRun other(out);
  other.options.trainer.batch = 2;
  testing::expect_input_error([&] { other.prepare(second); },
                              {" trains there"});
  EXPECT_EQ(read_file(out / "config.cfg"), config);
}

TEST(RunDirectory, IsTheFirstOfItsNameThatIsFree) {
  const ScratchFolder folder;
  const fs::path base = folder.path() / "new" / "runs" / "tiny";
  const auto prepared = [&] {
    OneRun run("");
    RunDirectory directory("", base);
    EXPECT_EQ(directory.path(), "");
    const auto lines = run.prepare(directory);
    EXPECT_TRUE(says(lines, "out      " + directory.path().string() + ": "));
    EXPECT_EQ(read_config(directory.path() / "config.cfg").trainer.out,
              directory.path());
    return directory.path().string();
  };
  EXPECT_EQ(prepared(), base.string() + "-1");
  folder.write("new/runs/tiny-3", "mine");
  fs::create_symlink("nowhere", base.string() + "-4");
  fs::create_directory(base.string() + "-5");
  EXPECT_EQ(prepared(), base.string() + "-2");
  EXPECT_EQ(prepared(), base.string() + "-6");
}

TEST(RunDirectory, RunsThatBeginAtOnceHaveDifferentOnes) {
  const ScratchFolder folder;
  std::vector<fs::path> made(8);
  {
    std::vector<std::jthread> threads;
    for (fs::path& path : made) {
      threads.emplace_back([&] {
        OneRun run("");
        RunDirectory directory("", folder.path() / "runs" / "a");
        run.prepare(directory);
        path = directory.path();
      });
    }
  }
  std::ranges::sort(made);
  EXPECT_EQ(std::ranges::unique(made).begin(), made.end());
  EXPECT_TRUE(fs::exists(folder.path() / "runs" / "a-8"));
}

TEST(RunDirectory, IsNoPartOfARun) {
  const ScratchFolder folder;
  folder.write("run/provenance.json", "{}");
  folder.write("run/checkpoints/step_00000001/manifest.json", "");
  for (const char* part : {"checkpoints",
                           "checkpoints/",
                           "checkpoints/step_00000001",
                           "checkpoints/new/run",
                           "../run/checkpoints"}) {
    const fs::path out = folder.path() / "run" / part;
    testing::expect_input_error(
        [&] { RunDirectory directory(out); },
        {"train.out = " + out.string(), "is a part of the run in "});
  }
  RunDirectory whole(folder.path() / "run");
  RunDirectory beside(folder.path() / "checkpoints");
}

TEST(RunDirectory, SaysHowMuchOfARunIsKept) {
  const ScratchFolder folder;
  const auto lines = [&](auto change, const fs::path& out) {
    OneRun run(out);
    change(run.options.trainer);
    RunDirectory directory(out);
    return run.prepare(directory);
  };
  EXPECT_TRUE(
      says(lines([](auto&) {}, ""), "nothing of this run will be kept"));
  EXPECT_TRUE(says(lines([](auto&) {}, folder.path() / "a"),
                   "checkpoints every 15 minutes, at the end"));
  EXPECT_TRUE(
      says(lines([](auto& t) { t.checkpoint_every = 50; }, folder.path() / "b"),
           "checkpoints every 50 steps, every 15 minutes, at the end"));
  EXPECT_TRUE(says(
      lines([](auto& t) { t.checkpoint_minutes = 0; }, folder.path() / "c"),
      "checkpoints only at the end"));
}

TEST(RunDirectory, WithoutRoomForACheckpointNothingIsWritten) {
  const ScratchFolder folder;
  const fs::path out = folder.path() / "new" / "run";
  OneRun run(out);
  run.bytes = 1e18;
  RunDirectory directory(out);
  testing::expect_input_error([&] { run.prepare(directory); },
                              {"train.out = " + out.string(),
                               " free; expected room for a checkpoint, "});
  EXPECT_FALSE(fs::exists(folder.path() / "new"));
  run.bytes = 0.5 * static_cast<double>(fs::space(folder.path()).available);
  EXPECT_TRUE(says(run.prepare(directory), "2 kept and one in the making"));
}

TEST(RunDirectory, WhatWouldStopASaveIsFoundAtTheStart) {
  const ScratchFolder folder;
  const auto refused = [&](const fs::path& out, const std::string& part) {
    OneRun run(out);
    run.step = 4;
    run.options.resume = Resume::yes;
    RunDirectory directory(out);
    testing::expect_input_error([&] { run.prepare(directory); }, {part});
    EXPECT_FALSE(fs::exists(out / "config.cfg"));
  };
  folder.write("file/checkpoints", "");
  refused(folder.path() / "file", "file/checkpoints: checkpoints cannot be");
  folder.write("way/checkpoints/step_00000012/notes", "");
  refused(folder.path() / "way",
          "step_00000012: is in the place of a checkpoint to come");
}

TEST(RunDirectory, KeepsWhatARunLeftThatNeverSaved) {
  const ScratchFolder folder;
  const fs::path out = folder.path();
  OneRun run(out);
  for (const char* number : {"1", "2"}) {
    write_file_atomically(out / "metrics.jsonl", number);
    write_file_atomically(out / "config.cfg", fmt::format("config {}", number));
    RunDirectory directory(out);
    EXPECT_TRUE(says(run.prepare(directory),
                     fmt::format("kept as metrics.{}.jsonl", number)));
    EXPECT_FALSE(fs::exists(out / "metrics.jsonl"));
  }
  for (const char* number : {"1", "2"}) {
    EXPECT_EQ(read_file(out / fmt::format("metrics.{}.jsonl", number)), number);
    EXPECT_EQ(read_file(out / fmt::format("config.{}.cfg", number)),
              fmt::format("config {}", number));
  }
  RunDirectory directory(out);
  EXPECT_FALSE(says(run.prepare(directory), "kept as"));
}

}  // namespace
}  // namespace mumoe::run
