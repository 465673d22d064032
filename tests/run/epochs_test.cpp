#include <gtest/gtest.h>

#include "run/options.h"
#include "tests/support/errors.h"

namespace mumoe::run {
namespace {

using testing::expect_input_error;

Options options_with(const std::vector<std::string>& settings) {
  Draft draft;
  for (std::size_t i = 0; i < settings.size(); i += 2) {
    draft.set(settings[i], settings[i + 1], "here", kCommandLine);
  }
  return draft.resolved();
}

TEST(Epochs, BecomeStepsWhenTheSamplesAreKnown) {
  const Options open = options_with(
      {"train.epochs", "3", "train.batch", "16", "schedule.warmup", "auto"});
  EXPECT_EQ(to_map(open).at("train.steps"), "auto");
  EXPECT_EQ(to_map(open).at("schedule.steps"), "auto");
  const Options known = with_steps(open, 1000);
  EXPECT_EQ(known.trainer.steps, 188) << "187.5";
  EXPECT_EQ(known.schedule.steps, 188);
  EXPECT_EQ(known.schedule.warmup, 18);
  EXPECT_EQ(with_steps(open, 16).trainer.steps, 3);
  const Options half =
      options_with({"train.epochs", "0.5", "train.batch", "10"});
  EXPECT_EQ(with_steps(half, 1000).trainer.steps, 50);
}

TEST(Epochs, ASettledRunReadsBack) {
  const Options settled = with_steps(options_with({"train.epochs", "3"}), 1000);
  const Options again = options_from(to_map(settled), "here");
  EXPECT_EQ(to_map(again), to_map(settled));
  EXPECT_EQ(to_map(with_steps(again, 1000)), to_map(settled));
}

TEST(Epochs, WithoutThemNothingChanges) {
  const Options options = options_with({"train.steps", "70"});
  EXPECT_EQ(to_map(with_steps(options, 1000)), to_map(options));
}

TEST(Epochs, AScheduleOfOnesOwnStays) {
  const Options known = with_steps(options_with({"train.epochs",
                                                 "1",
                                                 "schedule.steps",
                                                 "40",
                                                 "train.batch",
                                                 "10",
                                                 "schedule.warmup",
                                                 "7"}),
                                   1000);
  EXPECT_EQ(known.trainer.steps, 100);
  EXPECT_EQ(known.schedule.steps, 40);
  EXPECT_EQ(known.schedule.warmup, 7);
}

TEST(Epochs, WhatDoesNotFitIsOneLine) {
  expect_input_error(
      [] {
        with_steps(options_with({"train.epochs",
                                 "3",
                                 "train.steps",
                                 "70",
                                 "train.batch",
                                 "10"}),
                   1000);
      },
      {"train.steps = 70: train.epochs = 3 of 1000 samples are 300 steps"});
  expect_input_error(
      [] {
        options_with({"train.epochs", "-1"});
      },
      {"train.epochs = -1: expected at least 0"});
  expect_input_error(
      [] {
        options_with({"train.steps", "auto"});
      },
      {"train.steps = auto", "train.epochs"});
  expect_input_error(
      [] {
        with_steps(options_with({"train.epochs",
                                 "1",
                                 "schedule.warmup",
                                 "70",
                                 "train.batch",
                                 "100"}),
                   1000);
      },
      {"schedule.warmup = 70"});
  expect_input_error(
      [] {
        with_steps(options_with({"train.epochs", "1e12"}), 1000);
      },
      {"train.epochs = 1", "steps of train.batch = 16"});
  expect_input_error(
      [] {
        options_with({"data.mixup", "-1"});
      },
      {"data.mixup = -1: expected at least 0"});
}

// A file's train.epochs gives way to --train.steps, and the other way round.
TEST(Epochs, WhatIsTypedReplacesTheOtherOfAFile) {
  const auto both = [](const std::string& filed, const char* typed) {
    Draft draft;
    draft.read_text("[train]\n" + filed + "\nbatch = 10\n", "a file");
    draft.set(typed, "3", "here", kCommandLine);
    return with_steps(draft.resolved(), 1000).trainer.steps;
  };
  EXPECT_EQ(both("epochs = 2", "train.steps"), 3);
  EXPECT_EQ(both("steps = 7", "train.epochs"), 300);
  EXPECT_EQ(both("epochs = 2", "train.epochs"), 300);
  expect_input_error([&] { both("epochs = 2\nsteps = 7", "train.batch"); },
                     {"train.steps = 7: train.epochs = 2"});
}

}  // namespace
}  // namespace mumoe::run
