// Runs that end of bad samples, and those that do not.
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "run/manifest.h"
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

/// Flips a bit in the middle of the weights of a checkpoint.
void damage(const std::filesystem::path& checkpoint) {
  const auto file = checkpoint / "rank_00000.safetensors";
  std::string bytes = read_file(file);
  bytes[bytes.size() / 2] ^= 1;
  write_file_atomically(file, bytes);
}

// What the run holds of itself must not go with a checkpoint that is passed by.
TEST(BadRuns, GoBackPastDamageAsWhatTheyWere) {
  const ScratchFolder folder;
  SmallRun run = bad_run(BadStep::rewind, {{60, kNan}});
  run.out = folder.path();
  run.checkpoint_every = 3;
  run.steps = 9;
  run.settings = {{"model.width", "16"}};
  const auto checkpoints = folder.path() / "checkpoints";
  run.spoil_batch = [&, spoil = run.spoil_batch](const at::Tensor& loss,
                                                 const model::Batch& batch) {
    if ((batch.ids == 60).any().item<bool>()) {
      damage(checkpoints / "step_00000006");
    }
    return spoil(loss, batch);
  };
  EXPECT_EQ(alone(run).state.samples, 64 + 6 * 8);
  EXPECT_EQ(run::read_run_state(checkpoints / "step_00000009").settings,
            run.settings);
}

// Which it has gone on from an older one, since that was damaged.
TEST(BadRuns, GoBackBesideANewerOneThatIsDamaged) {
  const ScratchFolder folder;
  SmallRun run = bad_run(BadStep::rewind, {{33, kNan}});
  run.out = folder.path();
  run.checkpoint_every = 3;
  run.steps = 3;
  alone(run);
  const auto checkpoints = folder.path() / "checkpoints";
  std::filesystem::copy(checkpoints / "step_00000003",
                        checkpoints / "step_00000008");
  auto manifest = run::read_manifest(checkpoints / "step_00000003");
  manifest.state.step = 8;
  write_file_atomically(checkpoints / "step_00000008" / run::kManifest,
                        run::manifest_text(manifest));
  damage(checkpoints / "step_00000008");
  run.resume_from = checkpoints / "step_00000003";
  run.resume = true;
  run.steps = 7;
  EXPECT_EQ(alone(run).state.samples, 40 + 4 * 8);
}

// The best checkpoint is beside the run, which goes on without it.
TEST(BestCheckpoint, ThatCannotBeKeptEndsNoRun) {
  for (const bool strict : {false, true}) {
    const ScratchFolder folder;
    SmallRun run = bad_run(BadStep::stop, {});
    run.out = folder.path();
    run.steps = 3;
    run.checkpoint_best = true;
    if (strict) run.checkpoint_failure = run::SaveFailure::stop;
    folder.write("checkpoints/.best.tmp/mine", "somebody's own");
    if (strict) {
      EXPECT_THROW(alone(run), InputError);
    } else {
      EXPECT_EQ(alone(run).state.step, 3);
    }
    EXPECT_TRUE(exists(folder.path() / "checkpoints/step_00000003"));
    EXPECT_FALSE(exists(folder.path() / "checkpoints/best"));
  }
}

TEST(LastCheckpoint, IsLeftOutWhereAskedFor) {
  for (const std::int64_t every : {0, 2}) {
    const ScratchFolder folder;
    SmallRun run = bad_run(BadStep::stop, {});
    run.out = folder.path();
    run.steps = 3;
    run.checkpoint_every = every;
    run.checkpoint_last = false;
    EXPECT_EQ(alone(run).state.step, 3);
    const auto newest = run::latest_checkpoint(folder.path() / "checkpoints");
    ASSERT_EQ(newest.has_value(), every > 0);
    if (newest) {
      EXPECT_EQ(newest->filename(), "step_00000002");
    }
    EXPECT_EQ(told_in(folder.path()).steps, up_to(3));
    EXPECT_FALSE(exists(folder.path() / "checkpoints/step_00000003"));
  }
}

}  // namespace
}  // namespace mumoe
