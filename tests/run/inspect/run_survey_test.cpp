// What a run directory is like.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "run/best_checkpoint.h"
#include "run/run_survey.h"
#include "tests/run/inspect/made_checkpoint.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

using testing::flip;
using testing::make_checkpoint;
using testing::ScratchFolder;
namespace fs = std::filesystem;

TEST(RunSurvey, SaysWhichCheckpointsAreWhole) {
  const ScratchFolder folder;
  const fs::path checkpoints = folder.path() / "checkpoints";
  make_checkpoint(checkpoints, 4);
  keep_best(checkpoints, {4, 2.5});
  const auto eight = make_checkpoint(checkpoints, 8);
  const auto twelve = make_checkpoint(checkpoints, 12);
  flip(twelve / "rank_00001.safetensors", kBlockBytes);
  folder.write("checkpoints/step_best/manifest.json", "somebody's own");

  const auto survey = survey_run(folder.path(), true);
  ASSERT_EQ(survey.checkpoints.size(), 3u);
  EXPECT_EQ(survey.checkpoints[2].folder, twelve);
  EXPECT_EQ(survey.checkpoints[2].damage.size(), 1u);
  EXPECT_EQ(survey.newest, eight);
  ASSERT_TRUE(survey.best);
  EXPECT_EQ(survey.best->state.step, 4);
  EXPECT_EQ(survey.best_loss, 2.5);
  EXPECT_EQ(survey.damage, survey.checkpoints[2].damage);
  // No config.cfg: what the newest whole checkpoint has.
  EXPECT_EQ(survey.settings.at("model.width"), "6");
  ASSERT_EQ(survey.notes.size(), 1u);
  EXPECT_EQ(survey.last_step, "");
  EXPECT_EQ(survey_run(folder.path(), false).newest, twelve);
}

TEST(RunSurvey, BestIsLookedAtAsWell) {
  const ScratchFolder folder;
  const fs::path checkpoints = folder.path() / "checkpoints";
  const auto four = make_checkpoint(checkpoints, 4);
  keep_best(checkpoints, {4, 2.5});
  fs::remove_all(four);
  flip(checkpoints / "best/rank_00000.safetensors", 1);
  folder.write("checkpoints/best/val_loss.json", "{}");
  const auto survey = survey_run(folder.path(), true);
  EXPECT_FALSE(survey.newest);
  EXPECT_FALSE(survey.best_loss);
  ASSERT_EQ(survey.damage.size(), 2u);
  EXPECT_NE(survey.damage[0].find("best/val_loss.json"), std::string::npos);
  EXPECT_NE(survey.damage[1].find("best/rank_00000.safetensors"),
            std::string::npos);
}

TEST(RunSurvey, TheLastStepOfItsMetricsAndItsSettings) {
  const ScratchFolder folder;
  fs::create_directory(folder.path() / "checkpoints");
  folder.write("config.cfg",
               "[model]\nwidth = 24\nheads = 2\nexperts = 6\nrank = 5\n");
  std::string lines;
  for (int step = 1; step <= 9000; ++step) {
    lines +=
        "{\"step\":" + std::to_string(step) + ",\"loss\":2.5,\"lr\":0.1}\n";
  }
  folder.write("metrics.jsonl",
               lines +
                   "{\"event\":\"bad_step\",\"step\":9001,\"loss\":null}\n"
                   "{\"step\":9001,\"loss\":2");
  const auto survey = survey_run(folder.path(), true);
  EXPECT_EQ(survey.last_step, "{\"step\":9000,\"loss\":2.5,\"lr\":0.1}");
  EXPECT_EQ(survey.settings.at("model.width"), "24");
  EXPECT_TRUE(survey.checkpoints.empty());
  EXPECT_FALSE(survey.newest);
  EXPECT_TRUE(survey.notes.empty());
  EXPECT_TRUE(survey.damage.empty());
}

}  // namespace
}  // namespace mumoe::run
