// Runs that end of bad samples, and those that do not.
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "tests/train/bad_run.h"

namespace mumoe {
namespace {

using nlohmann::json;
using run::BadStep;
using testing::alone;
using testing::Bad;
using testing::bad_run;
using testing::kNan;
using testing::ScratchFolder;
using testing::SmallRun;
using testing::Told;
using testing::told_in;
using testing::train_over;
using testing::train_small;
using testing::up_to;

Bad from_32_on() {
  Bad bad;
  for (std::int64_t number = 32; number < 400; ++number) bad[number] = kNan;
  return bad;
}

/// What the run ends with on each of two ranks.
std::string error_of(const SmallRun& run) {
  std::atomic<int> ended = 0;
  std::string text;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    try {
      train_small(world, run);
    } catch (const NonFiniteError& error) {
      ++ended;
      if (world.rank() == 0) text = error.what();
    }
  });
  EXPECT_EQ(ended, 2);
  return text;
}

TEST(BadRuns, StopWithALineOfIt) {
  const ScratchFolder folder;
  SmallRun run = bad_run(BadStep::stop);
  run.out = folder.path();
  EXPECT_EQ(error_of(run),
            "step 5: loss nan, gradient norm nan (not finite); on rank 1; "
            "stopped before the weights changed");
  const Told told = told_in(folder.path());
  EXPECT_EQ(told.steps, up_to(4));
  ASSERT_EQ(told.events.size(), 1u);
  EXPECT_EQ(told.events[0]["action"], "stop");
  EXPECT_FALSE(run::latest_checkpoint(folder.path() / "checkpoints"));
}

TEST(BadRuns, EndAfterTwentyInARow) {
  for (const BadStep action : {BadStep::skip, BadStep::rewind}) {
    SCOPED_TRACE(train::name_of(action));
    const ScratchFolder folder;
    SmallRun run = bad_run(action, from_32_on());
    run.out = folder.path();
    run.checkpoint_every = 3;
    run.steps = 40;
    const std::string text = error_of(run);
    EXPECT_NE(text.find("the last of 20 in a row"), std::string::npos) << text;
    const Told told = told_in(folder.path());
    ASSERT_EQ(told.events.size(), 20u);
    EXPECT_EQ(told.events[18]["action"], train::name_of(action));
    EXPECT_EQ(told.events[19]["action"], "stop");
    EXPECT_EQ(told.steps, up_to(action == BadStep::skip ? 23 : 3));
    // Each went on behind the one before.
    EXPECT_EQ(told.events[19]["samples"], json({32 + 19 * 8, 8}));
  }
}

TEST(BadRuns, WithoutACheckpointThereIsNoWayBack) {
  const ScratchFolder folder;
  SmallRun run = bad_run(BadStep::rewind, {{10, kNan}});
  run.out = folder.path();
  run.checkpoint_every = 3;
  run.steps = 6;
  const std::string expected = "this run has no checkpoint to go back to";
  EXPECT_NE(error_of(run).find(expected), std::string::npos);
  // Those of another run are none of its own.
  SmallRun other = run;
  other.spoil_batch = nullptr;
  train_over(2, 1, other);
  EXPECT_NE(error_of(run).find(expected), std::string::npos);
}

TEST(BadRuns, GoOnThroughTwentyThatAreNotInARow) {
  Bad bad;
  for (std::int64_t step = 1; step < 45; step += 2) bad[8 * step] = kNan;
  SmallRun run = bad_run(BadStep::skip, bad);
  run.steps = 45;
  EXPECT_EQ(alone(run).state.skipped, 22);
}

TEST(BadRuns, GoBackToTheCheckpointThatIsThere) {
  const ScratchFolder folder;
  SmallRun run = bad_run(BadStep::rewind, {{60, kNan}});
  run.out = folder.path();
  run.checkpoint_every = 3;
  run.steps = 9;
  const auto newest = folder.path() / "checkpoints/step_00000006";
  run.spoil_batch = [&, spoil = run.spoil_batch](const at::Tensor& loss,
                                                 const model::Batch& batch) {
    if ((batch.ids == 60).any().item<bool>()) {
      std::filesystem::remove_all(newest);
    }
    return spoil(loss, batch);
  };
  EXPECT_EQ(alone(run).state.samples, 64 + 6 * 8);
  EXPECT_TRUE(exists(newest)) << "saved anew";
  EXPECT_EQ(told_in(folder.path()).steps, up_to(9));
}

}  // namespace
}  // namespace mumoe
