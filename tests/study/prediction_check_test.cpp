// How close predictions come: on runs that are made up, and on measured ones of
// others (tests/study/measured).
#include "study/predict/prediction_check.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/study/synthetic_runs.h"
#include "tests/support/source_folder.h"

namespace mumoe::study {
namespace {

const Machine& a100() {
  static const Machine machine = Machines().named("a100-80g");
  return machine;
}

std::vector<MeasuredRun> measured(const std::string& name) {
  return read_measured_runs(std::string(testing::source_folder()) +
                            "/tests/study/measured/" + name);
}

TEST(PredictionCheck, FindsItsOwnRunsAgain) {
  Rates rates;
  rates.product_share = 0.6;
  rates.launch = 3;
  const auto runs = synthetic_runs(a100(), rates);
  const auto rows = check_folds(runs, a100(), Kept::rows, 1);
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->score.runs, runs.size());
  EXPECT_LT(rows->score.mean_error, 0.02);
  EXPECT_LT(rows->score.rates_error, 0.02);
  EXPECT_GT(rows->score.held, 0.8);
  const auto cells = check_folds(runs, a100(), Kept::cells, 1);
  ASSERT_TRUE(cells);
  EXPECT_EQ(cells->score.runs, runs.size());
  EXPECT_LT(cells->score.mean_error, 0.05);
  // The seed says who is kept back with whom, and nothing else does.
  const auto again = check_folds(runs, a100(), Kept::rows, 1);
  EXPECT_EQ(again->score.mean_error, rows->score.mean_error);
  const auto other = check_folds(runs, a100(), Kept::rows, 2);
  EXPECT_NE(other->score.mean_error, rows->score.mean_error);
}

TEST(PredictionCheck, CountsWhatAChoiceCosts) {
  const auto runs = synthetic_runs(a100(), {});
  // Two layouts of one run on 16 GPUs, of which the one that is predicted to be
  // slower was twice as fast.
  std::vector<MeasuredRun> others(3, runs.front());
  for (MeasuredRun& run : others) run.gpus = 16;
  others[0].tp = 1;
  others[0].dp = 16;
  others[1].tp = 16;
  others[1].dp = 1;
  others[2] = others[0];
  others[2].layers = 48;  // alone in its group
  for (MeasuredRun& run : others) run.milliseconds = 100;
  const auto same = check_others(runs, others, a100());
  EXPECT_EQ(same.choice.groups, 1u);
  EXPECT_EQ(same.choice.worst_cost, 0);
  others[0].milliseconds = 200;
  const auto cost = check_others(runs, others, a100());
  const Predictor predictor(runs, a100());
  const bool takes_first = predictor.predict(others[0]).seconds <
                           predictor.predict(others[1]).seconds;
  EXPECT_TRUE(takes_first) << "tp over two nodes";
  EXPECT_DOUBLE_EQ(cost.choice.worst_cost, 1);
  EXPECT_DOUBLE_EQ(cost.choice.mean_cost, 1);
}

TEST(PredictionCheck, KeepsNothingBackWhereThereIsOneOfIt) {
  auto runs = synthetic_runs(a100(), {});
  std::erase_if(runs, [](const MeasuredRun& run) { return run.tp != 2; });
  EXPECT_FALSE(check_folds(runs, a100(), Kept::tp, 0));
  EXPECT_TRUE(check_folds(runs, a100(), Kept::rows, 0));
}

TEST(PredictionCheck, HoldsItsPromisesOnA100s) {
  const auto runs = measured("a100_one_node.csv");
  ASSERT_EQ(runs.size(), 480u);
  const auto rows = check_folds(runs, a100(), Kept::rows, 0);
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->score.runs, 480u);
  EXPECT_LT(rows->score.mean_error, 0.01);
  EXPECT_LT(rows->score.rates_error, 0.07);
  EXPECT_GT(rows->score.held, 0.9);
  EXPECT_LT(rows->score.half_width, 0.03);
  EXPECT_LT(rows->choice.mean_cost, 0.02);
  // What is far from all that was measured has an interval that says so.
  const auto cells = check_folds(runs, a100(), Kept::cells, 0);
  ASSERT_TRUE(cells);
  EXPECT_LT(cells->score.mean_error, 0.1);
  EXPECT_GT(cells->score.held, 0.85);
}

TEST(PredictionCheck, GoesFromOneNodeToSeveral) {
  const auto runs = measured("a100_one_node.csv");
  const auto others = measured("a100_many_nodes.csv");
  const auto found = check_others(runs, others, a100());
  EXPECT_EQ(found.score.runs, 10u);
  EXPECT_LT(found.score.mean_error, 0.14);
  EXPECT_GE(found.score.held, 0.9);
  EXPECT_EQ(found.choice.groups, 2u);
  EXPECT_LE(found.choice.worst_cost, 0.02);
}

}  // namespace
}  // namespace mumoe::study
