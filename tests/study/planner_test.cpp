// What layouts a run can have on machines that are not here, and what they
// need.
#include "study/predict/planner.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "run/options.h"
#include "study/predict/model_work.h"
#include "tests/study/recipe_124m.h"
#include "tests/support/errors.h"

namespace mumoe::study {
namespace {

Machine h100() {
  return Machines().named("h100-80g");
}

RunCost cost(const RunLayout& layout,
             const run::Options& options = recipe_124m()) {
  return cost_of_run(options, layout, at::kBFloat16, at::Device(at::kCUDA, 0));
}

double products_of(const StepWork& work) {
  return work.flops();
}

TEST(RunCost, IsThatOfTheModelWhateverTheMesh) {
  const RunCost one = cost({.micro_batch = 16});
  // 124M CP: its own sums are tested in tests/model.
  EXPECT_EQ(one.cost.parameters, 124'789'536);
  const RunCost four = cost({.dp = 2, .tp = 2, .micro_batch = 16});
  EXPECT_EQ(four.cost.parameters, one.cost.parameters);
  EXPECT_DOUBLE_EQ(four.cost.pass.flops, one.cost.pass.flops);
  EXPECT_LT(four.cost.pass.rank_flops, 0.55 * one.cost.pass.rank_flops);
  EXPECT_LT(four.memory.model(), 0.75 * one.memory.model());
  EXPECT_EQ(one.batch.micro_steps, 32);
  EXPECT_EQ(four.batch.micro_steps, 16);
}

TEST(RunCost, ZeroCutsTheOptimizerOverDp) {
  const auto whole = cost({.dp = 8, .zero = 0, .micro_batch = 16}).cost.bytes;
  const auto cut = cost({.dp = 8, .zero = 1, .micro_batch = 16}).cost.bytes;
  EXPECT_NEAR(static_cast<double>(cut.optimizer),
              static_cast<double>(whole.optimizer) / 8,
              0.02 * static_cast<double>(whole.optimizer));
}

// A Mixer of 2 blocks has 4 gates: of each 4 x 6 + 1 sums in fp64, once a
// micro-step, over all that hold other tokens.
TEST(RunCost, CountsWhatBatchNormsOfGatesSum) {
  run::Options options;
  options.family = "mixer";
  options.model.depth = 2;
  options.model.width = 32;
  options.model.patch = 7;
  options.model.image_size = 28;
  options.model.channels = 1;
  options.model.classes = 10;
  options.model.token_hidden = 16;
  options.model.token_ranks = {4};
  options.model.mlp.hidden_dim = 64;
  options.model.mlp.experts = {6};
  options.model.mlp.ranks = {8};
  options.trainer.batch = 32;
  const auto moved = [&](const RunLayout& layout) {
    const auto by = [&](GateNorm norm) {
      options.model.mlp.gate.norm = norm;
      return cost_of_run(options, layout, at::kFloat, at::kCPU).moved();
    };
    const StepMoved with = by(GateNorm::batch), without = by(GateNorm::none);
    EXPECT_EQ(with.tp, without.tp);
    return StepMoved{.dp = with.dp - without.dp, .all = with.all - without.all};
  };
  const double sums = 4 * (4 * 6 + 1) * 8;
  EXPECT_EQ(moved({.micro_batch = 8}), StepMoved{});
  EXPECT_EQ(moved({.dp = 2, .micro_batch = 8}), (StepMoved{.dp = 2 * sums}));
  EXPECT_EQ(moved({.tp = 2, .micro_batch = 8}), (StepMoved{.all = 4 * sums}));
  // All ranks hold all tokens.
  EXPECT_EQ(moved({.tp = 2, .plan = Plan::bottleneck, .micro_batch = 8}),
            StepMoved{});
}

TEST(RunCost, RefusesWhatCannotBeCut) {
  testing::expect_input_error([] { cost({.dp = 2, .micro_batch = 7}); },
                              {"batch"});
  testing::expect_input_error(
      [] {
        run::Options dense = recipe_124m();
        dense.model.dense = true;
        cost({.tp = 2, .plan = Plan::rank, .micro_batch = 4}, dense);
      },
      {"dense"});
  testing::expect_input_error([] { cost({.tp = 5, .micro_batch = 4}); },
                              {"heads"});
}

// All products of a step, of all ranks together, are the model's FLOPs.
TEST(ModelWork, HasTheFlopsOfTheModel) {
  for (const RunLayout& layout :
       {RunLayout{.micro_batch = 16},
        RunLayout{.dp = 2, .tp = 4, .micro_batch = 16},
        RunLayout{.tp = 4, .plan = Plan::bottleneck, .micro_batch = 16}}) {
    const RunCost run = cost(layout);
    const StepWork work = model_work(recipe_124m(), run, layout, h100());
    const double a_rank =
        run.cost.pass.rank_flops * static_cast<double>(run.batch.micro_steps);
    EXPECT_NEAR(products_of(work), a_rank, 1e-6 * a_rank)
        << arguments_of(layout);
    EXPECT_EQ(work.micro_steps, run.batch.micro_steps);
  }
}

TEST(ModelWork, RepeatsForwardWhereItIsRecomputed) {
  const RunLayout layout{.micro_batch = 16,
                         .recompute = model::Recompute::everything};
  run::Options options = recipe_124m();
  const RunCost run = cost(layout, options);
  EXPECT_GT(run.cost.pass.repeated_flops, 0.2 * run.cost.pass.rank_flops);
  const StepWork work = model_work(options, run, layout, h100());
  const double a_rank =
      (run.cost.pass.rank_flops + run.cost.pass.repeated_flops) *
      static_cast<double>(run.batch.micro_steps);
  EXPECT_NEAR(products_of(work), a_rank, 1e-6 * a_rank);
}

TEST(Planner, LooksAtEachLayoutOnceAndOrdersByTime) {
  const Plans plans = plan_run(recipe_124m(), h100(), 8, at::kBFloat16, {});
  ASSERT_FALSE(plans.possible.empty());
  std::set<std::string> seen;
  for (const auto* list : {&plans.possible, &plans.refused}) {
    for (const PlannedRun& planned : *list) {
      EXPECT_EQ(planned.layout.ranks(), 8);
      EXPECT_TRUE(seen.insert(arguments_of(planned.layout)).second)
          << arguments_of(planned.layout);
    }
  }
  EXPECT_TRUE(
      std::ranges::is_sorted(plans.possible, {}, [](const PlannedRun& p) {
        return p.step.seconds;
      }));
  for (const PlannedRun& planned : plans.possible) {
    EXPECT_LT(planned.step.low, planned.step.seconds);
    EXPECT_GT(planned.step.high, planned.step.seconds);
    EXPECT_NEAR(planned.parts.total(), planned.step.seconds, 1e-12);
    EXPECT_GT(planned.mfu, 0);
    EXPECT_GE(planned.speed_of_light, 0.999 * planned.mfu);
    EXPECT_LT(planned.speed_of_light, 1);
  }
  // Small models need no tensor parallelism.
  EXPECT_EQ(plans.possible.front().layout.tp, 1);
}

TEST(Planner, SaysWhatDoesNotFitAndWhatCrossesNodes) {
  run::Options large = recipe_124m();
  large.model.depth = 48;
  large.model.width = 8192;
  large.model.heads = 64;
  large.model.mlp.hidden_dim = 32768;
  large.model.mlp.ranks = {6000};
  const Plans one = plan_run(large, h100(), 1, at::kBFloat16, {});
  EXPECT_TRUE(one.possible.empty());
  ASSERT_FALSE(one.refused.empty());
  EXPECT_NE(one.refused.front().refused.find("of a GPU's memory"),
            std::string::npos)
      << one.refused.front().refused;
  const Plans many =
      plan_run(recipe_124m(), h100(), 16, at::kBFloat16, {.tp = 16});
  EXPECT_TRUE(many.possible.empty());
  ASSERT_FALSE(many.refused.empty());
  EXPECT_NE(many.refused.front().refused.find("crosses nodes of 8"),
            std::string::npos);
}

TEST(Planner, LooksForNothingThatIsGiven) {
  const Plans plans = plan_run(recipe_124m(),
                               h100(),
                               8,
                               at::kBFloat16,
                               {.tp = 2,
                                .plan = Plan::bottleneck,
                                .zero = 1,
                                .micro_batch = 4,
                                .recompute = model::Recompute::none});
  ASSERT_EQ(plans.possible.size(), 1u);
  EXPECT_EQ(plans.possible.front().layout,
            (RunLayout{.dp = 4,
                       .tp = 2,
                       .plan = Plan::bottleneck,
                       .zero = 1,
                       .micro_batch = 4}));
}

OwnRun measured(std::int64_t width, const RunLayout& layout) {
  OwnRun run{.name = {}, .options = recipe_124m(), .layout = layout};
  run.options.model.depth = 2;
  run.options.model.heads = 4;
  run.options.model.width = width;
  run.options.model.context = 64;
  run.options.model.vocab = 256;
  run.options.model.mlp.hidden_dim = 4 * width;
  run.options.model.mlp.experts = {16};
  run.options.model.mlp.ranks = {width / 2};
  run.options.trainer.batch = 16;
  run.peak_flops = 5e10;
  const RunCost cost = cost_of_run(run.options, layout, at::kFloat, at::kCPU);
  run.seconds = static_cast<double>(cost.batch.micro_steps) *
                    cost.cost.pass.rank_flops / 3e10 +
                1e-3;
  run.rss_bytes = cost.memory.model() + 3e8;
  return run;
}

TEST(Planner, PlansOnThisMachineByWhatWasMeasuredOnIt) {
  std::vector<OwnRun> runs;
  for (const std::int64_t width : {64, 128, 192}) {
    runs.push_back(measured(width, {.micro_batch = 4}));
    runs.push_back(measured(width, {.micro_batch = 16}));
    runs.push_back(measured(width, {.dp = 2, .micro_batch = 8}));
  }
  const OwnPredictor predictor(runs);
  const run::Options options = measured(128, {.micro_batch = 4}).options;
  const Plans plans =
      plan_here(options, predictor, 2, at::kFloat, 64e9, {.tp = 1});
  ASSERT_FALSE(plans.possible.empty());
  EXPECT_TRUE(plans.refused.empty());
  double before = 0;
  for (const PlannedRun& planned : plans.possible) {
    EXPECT_EQ(planned.layout.dp, 2);
    EXPECT_GE(planned.step.seconds, before);
    EXPECT_NEAR(planned.parts.total(), planned.step.seconds, 1e-9);
    EXPECT_TRUE(planned.step.holds(planned.step.seconds));
    EXPECT_GT(planned.memory_bytes, 2e8);
    EXPECT_LT(planned.mfu, 1);
    before = planned.step.seconds;
  }
  const Plans none =
      plan_here(options, predictor, 2, at::kFloat, 3e8, {.tp = 1});
  EXPECT_TRUE(none.possible.empty());
  ASSERT_FALSE(none.refused.empty());
  EXPECT_NE(none.refused.front().refused.find("this machine's memory"),
            std::string::npos);
}

// More ranks take less time, but never less than their share.
TEST(Planner, ScalesWithRanks) {
  double before = 0;
  for (const int ranks : {8, 64, 512}) {
    const Plans plans =
        plan_run(recipe_124m(), h100(), ranks, at::kBFloat16, {});
    ASSERT_FALSE(plans.possible.empty());
    const double seconds = plans.possible.front().step.seconds;
    if (before > 0) {
      EXPECT_LT(seconds, before);
      EXPECT_GT(seconds, before / 8.001);
    }
    before = seconds;
  }
}

}  // namespace
}  // namespace mumoe::study
