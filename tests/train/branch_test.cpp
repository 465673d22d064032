// Warm-up, stable, decay; and runs that branch off a stable one.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "run/best_checkpoint.h"
#include "run/manifest.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"
#include "train/schedule.h"

namespace mumoe {
namespace {

using testing::ScratchFolder;
using testing::SmallRun;
using testing::train_small;
using train::learning_rate;

run::ScheduleConfig stable_then_decay(std::int64_t steps, std::int64_t decay) {
  return {.kind = run::ScheduleKind::wsd,
          .lr = 3e-3,
          .min_lr = 3e-4,
          .warmup = 4,
          .steps = steps,
          .decay = decay};
}

TEST(WarmUpStableDecay, IsThreeParts) {
  const auto schedule = stable_then_decay(120, 16);
  schedule.validate();
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 0), 3e-3 / 4);
  for (const std::int64_t step : {3, 4, 50, 103, 104}) {
    EXPECT_EQ(learning_rate(schedule, step), 3e-3) << step;
  }
  // 1 - sqrt of the share that is done: of 1, 4 and 9 of 16 steps.
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 105), 3e-4 + 0.75 * 2.7e-3);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 108), 3e-4 + 0.5 * 2.7e-3);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 113), 3e-4 + 0.25 * 2.7e-3);
  for (const std::int64_t step : {120, 121, 5000}) {
    EXPECT_DOUBLE_EQ(learning_rate(schedule, step), 3e-4) << step;
  }
}

TEST(WarmUpStableDecay, IsTheSameToTheBitUntilItDecays) {
  auto constant = stable_then_decay(1, 0);
  constant.kind = run::ScheduleKind::constant;
  for (const std::int64_t steps : {30, 57, 1000}) {
    const auto schedule = stable_then_decay(steps, steps / 5);
    const std::int64_t first = steps - steps / 5;
    for (std::int64_t step = 0; step < first; ++step) {
      EXPECT_EQ(learning_rate(schedule, step), learning_rate(constant, step));
    }
    EXPECT_LT(learning_rate(schedule, first + 1), 3e-3);
  }
}

TEST(WarmUpStableDecay, WithoutADecayDropsAtTheEnd) {
  const auto schedule = stable_then_decay(10, 0);
  schedule.validate();
  EXPECT_EQ(learning_rate(schedule, 9), 3e-3);
  EXPECT_EQ(learning_rate(schedule, 10), 3e-4);
}

TEST(WarmUpStableDecay, NeedsRoomForItsDecay) {
  EXPECT_NO_THROW(stable_then_decay(20, 16).validate());
  testing::expect_input_error([] { stable_then_decay(20, 17).validate(); },
                              {"decay = 17: expected 0 to 16, what warmup = 4 "
                               "leaves of the schedule's 20 steps"});
  EXPECT_THROW(stable_then_decay(20, -1).validate(), InputError);
}

std::vector<nlohmann::json> steps_of(const std::filesystem::path& folder) {
  std::vector<nlohmann::json> steps;
  std::ifstream in(folder / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    steps.push_back(nlohmann::json::parse(line));
  }
  return steps;
}

/// A stable run of 9 steps, on whose checkpoint branches of 14 and 17 steps go
/// on, beside runs that had their schedules from the beginning.
void expect_branches_are_runs(dist::Communicator& world,
                              const std::filesystem::path& folder,
                              SmallRun run) {
  run.steps = 9;
  run.out = folder / "stable";
  run.schedule = stable_then_decay(100, 20);
  train_small(world, run);
  const auto stable = run.out / "checkpoints" / "step_00000009";
  const auto kept = read_file(run.out / "metrics.jsonl");
  for (const std::int64_t steps : {14, 17}) {
    run.steps = steps;
    run.schedule = stable_then_decay(steps, steps / 3);
    run.out = folder / ("whole" + std::to_string(steps));
    run.branch_from.clear();
    const auto whole = train_small(world, run);
    run.out = folder / ("branch" + std::to_string(steps));
    run.branch_from = stable;
    const auto branch = train_small(world, run);
    EXPECT_TRUE(at::equal(whole.weights, branch.weights));
    EXPECT_EQ(whole.val_loss, branch.val_loss);
    EXPECT_EQ(whole.state.taken, branch.state.taken);
    EXPECT_EQ(branch.state.samples, steps * run.batch);
    if (world.rank() != 0) continue;
    const auto expected = steps_of(folder / ("whole" + std::to_string(steps)));
    const auto found = steps_of(run.out);
    ASSERT_EQ(found.size(), static_cast<std::size_t>(steps - 9));
    for (std::size_t i = 0; i < found.size(); ++i) {
      for (const char* key : {"step", "loss", "lr", "grad_norm", "tokens"}) {
        EXPECT_EQ(found[i][key], expected[i + 9][key]) << key << i;
      }
    }
    EXPECT_EQ(read_file(folder / "stable" / "metrics.jsonl"), kept);
  }
}

TEST(Branch, EndsWithTheBitsOfARunOfItsOwn) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    const ScratchFolder folder;
    expect_branches_are_runs(*self, folder.path(), {.dtype = dtype});
  }
}

TEST(Branch, EndsWithTheBitsOfARunOfItsOwnOnTwoRanks) {
  for (const int tp : {1, 2}) {
    const ScratchFolder folder;
    dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
      expect_branches_are_runs(world,
                               folder.path(),
                               {.dtype = at::kFloat, .tp = tp, .zero = 1});
    });
  }
}

// Killed and resumed in its own folder, it is the same run.
TEST(Branch, GoesOnInItsOwnFolder) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  SmallRun run;
  run.steps = 6;
  run.out = folder.path() / "stable";
  run.schedule = stable_then_decay(100, 20);
  train_small(*self, run);
  run.schedule = stable_then_decay(12, 4);
  run.branch_from = run.out / "checkpoints" / "step_00000006";
  run.out = folder.path() / "branch";
  run.steps = 9;
  train_small(*self, run);
  run.branch_from.clear();
  run.resume = true;
  run.steps = 12;
  const auto resumed = train_small(*self, run);
  run.resume = false;
  run.out = folder.path() / "whole";
  const auto whole = train_small(*self, run);
  EXPECT_TRUE(at::equal(whole.weights, resumed.weights));
  const auto steps = steps_of(folder.path() / "branch");
  ASSERT_EQ(steps.size(), 6u);
  EXPECT_EQ(steps.front()["step"], 7);
  EXPECT_EQ(steps.back()["loss"], steps_of(run.out).back()["loss"]);
}

// Nothing of the run that it left is in its folder: not even its best.
TEST(Branch, KeepsCheckpointsOfItsOwn) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  SmallRun run;
  run.steps = 5;
  run.out = folder.path() / "stable";
  run.schedule = stable_then_decay(100, 20);
  train_small(*self, run);
  run.branch_from = run.out / "checkpoints" / "step_00000005";
  run.out = folder.path() / "branch";
  run.checkpoint_best = true;
  const auto branch = train_small(*self, run);
  EXPECT_EQ(branch.state.step, 5);
  const auto checkpoints = run.out / "checkpoints";
  EXPECT_EQ(run::latest_checkpoint(checkpoints)->filename(), "step_00000005");
  const auto best = run::read_best(checkpoints);
  ASSERT_TRUE(best);
  EXPECT_EQ(best->val_loss, branch.val_loss);
}

}  // namespace
}  // namespace mumoe
