#include "train/bad_steps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "train/metrics.h"

namespace mumoe::train {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

TEST(BadSteps, ScoresAreThoseOfTheMedian) {
  // Median 3; distances 2 1 0 1 2, of median 1.
  const auto odd = robust_score(5, {1, 2, 3, 4, 5});
  EXPECT_EQ(odd.median, 3);
  EXPECT_DOUBLE_EQ(odd.deviations, 2 / 1.4826);
  // Median 2.5; distances 1.5 0.5 0.5 97.5, of median 1.
  const auto even = robust_score(0.5, {100, 3, 2, 1});
  EXPECT_EQ(even.median, 2.5);
  EXPECT_DOUBLE_EQ(even.deviations, -2 / 1.4826);
  EXPECT_TRUE(std::isfinite(robust_score(1, {1e308, 1.5e308}).median));
}

TEST(BadSteps, WhatHardlyChangesHasNoSpikes) {
  EXPECT_NEAR(robust_score(2.2, {2, 2, 2}).deviations, 100, 1e-9);
  EXPECT_NEAR(robust_score(2.0001, {2, 2, 2.00001}).deviations, 0.05, 1e-9);
  EXPECT_EQ(robust_score(7, {0, 0, 0}).deviations, 0);
}

TEST(BadSteps, SayWhatIsWrong) {
  const run::SpikeHistory none;
  EXPECT_EQ(fault_of(3, 1, none, 6, 128), "");
  EXPECT_EQ(fault_of(kNan, kInfinite, none, 0, 128),
            "loss nan, gradient norm inf (not finite)");
  EXPECT_NE(fault_of(3, kNan, none, 0, 128), "");
  EXPECT_NE(fault_of(-kInfinite, 1, none, 6, 128), "");

  run::SpikeHistory history;
  for (int i = 0; i < 8; ++i) remember(history, 3 + 0.1 * (i % 2), 1, 16);
  EXPECT_EQ(fault_of(9.5, 1, history, 6, 16),
            "loss 9.5 is 87.0 robust deviations above the median 3.05 of 8 "
            "steps");
  EXPECT_EQ(fault_of(3, 1.01, history, 6, 16),
            "gradient norm 1.01 is 10.0 robust deviations above the median 1 "
            "of 8 steps");
  EXPECT_EQ(fault_of(9.5, 1, history, 0, 16), "") << "spikes are not asked for";
  EXPECT_EQ(fault_of(9.5, 1, history, 90, 16), "") << "not so many deviations";
  EXPECT_EQ(fault_of(-9, 0, history, 6, 16), "") << "below is no spike";
}

TEST(BadSteps, NothingIsASpikeOfTooFewSteps) {
  for (const auto& [window, least] : {std::pair{8, 8}, {16, 8}, {40, 20}}) {
    EXPECT_EQ(least_history(window), least);
    run::SpikeHistory history;
    for (int steps = 1; steps <= least; ++steps) {
      EXPECT_EQ(fault_of(99, 99, history, 6, window), "") << steps;
      remember(history, 3, 1, window);
    }
    EXPECT_NE(fault_of(99, 99, history, 6, window), "");
  }
}

TEST(BadSteps, TheLastOnesAreRemembered) {
  run::SpikeHistory history;
  for (int i = 0; i < 20; ++i) {
    remember(history, i, 2 * i, 10);
    remember(history, kNan, 1, 10);
    remember(history, 1, kInfinite, 10);
  }
  EXPECT_EQ(history.losses,
            (std::vector<double>{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}));
  EXPECT_EQ(history.norms.front(), 20);
  EXPECT_EQ(history.norms.size(), 10u);
  remember(history, 20, 40, 8);  // a run resumed with a smaller window
  EXPECT_EQ(history.losses,
            (std::vector<double>{13, 14, 15, 16, 17, 18, 19, 20}));
}

TEST(BadSteps, ALevelThatLastsBecomesTheLevel) {
  run::SpikeHistory history;
  for (int i = 0; i < 32; ++i) remember(history, 3 + 0.1 * (i % 3), 1, 32);
  int spikes = 0;
  while (!fault_of(5, 1, history, 6, 32).empty()) {
    ASSERT_LT(++spikes, 32);
    remember(history, 5, 1, 32);
  }
  EXPECT_GE(spikes, 8);
  EXPECT_LE(spikes, 17) << "half of the window has it";
}

TEST(BadSteps, CountUntilARunIsBeyondThem) {
  BadRow row;
  row.good(1);
  EXPECT_EQ(row.bad(5), 1);
  row.good(4);  // it went back
  row.good(5);
  EXPECT_EQ(row.bad(4), 2);
  row.good(5);
  EXPECT_EQ(row.bad(5), 3);
  row.good(6);
  EXPECT_EQ(row.bad(7), 1);
}

TEST(BadSteps, HaveALineOfTheirOwn) {
  BadStepReport bad{.step = 12,
                    .action = run::BadStep::rewind,
                    .loss = kNan,
                    .grad_norm = 0.1,
                    .why = "loss nan, gradient norm 0.1 (not finite)",
                    .ranks = {1, 3},
                    .first = 88,
                    .count = 8,
                    .indices = {5, 7}};
  const auto line = nlohmann::json::parse(to_json(bad));
  EXPECT_EQ(line["event"], "bad_step");
  EXPECT_EQ(line["step"], 12);
  EXPECT_EQ(line["action"], "rewind");
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_EQ(line["grad_norm"], 0.1);
  EXPECT_EQ(line["why"], bad.why);
  EXPECT_EQ(line["ranks"], nlohmann::json({1, 3}));
  EXPECT_EQ(line["samples"], nlohmann::json({88, 8}));
  EXPECT_EQ(line["indices"], nlohmann::json({5, 7}));
  EXPECT_EQ(describe(bad),
            "step 12: loss nan, gradient norm 0.1 (not finite); on ranks 1 3; "
            "back to the last checkpoint, to go on behind these samples");
  bad.action = run::BadStep::skip;
  bad.ranks = {2};
  EXPECT_NE(describe(bad).find("on rank 2; the update is left out"),
            std::string::npos);
  bad.action = run::BadStep::stop;
  bad.ranks.assign(64, 0);
  EXPECT_NE(describe(bad).find("on 64 ranks; stopped before the weights"),
            std::string::npos);
}

}  // namespace
}  // namespace mumoe::train
