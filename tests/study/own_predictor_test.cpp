// Step times of this program, predicted from what was measured of others of
// its runs.
#include "study/predict/own_predictor.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "study/predict/own_runs.h"
#include "study/scale/scale_result.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::study {
namespace {

using testing::ScratchFolder;

constexpr double kPeak = 5e10;

run::Options options_of(std::int64_t width, bool dense) {
  run::Options options;
  options.model.depth = 2;
  options.model.heads = 4;
  options.model.width = width;
  options.model.context = 64;
  options.model.vocab = 256;
  options.model.dense = dense;
  options.model.mlp.hidden_dim = 4 * width;
  options.model.mlp.experts = {16};
  options.model.mlp.ranks = {width / 2};
  options.trainer.batch = 16;
  return options;
}

/// Of a machine that computes products at 0.7 of its peak, passes over what is
/// kept and over parameters, and needs some time for each micro-step.
double seconds_of(const OwnRun& run) {
  const RunCost cost =
      cost_of_run(run.options, run.layout, run.dtype, at::kCPU);
  const auto steps = static_cast<double>(cost.batch.micro_steps);
  const dist::ParameterBytes& bytes = cost.cost.bytes;
  return steps * (cost.cost.pass.rank_flops / (0.7 * kPeak) +
                  2 * cost.cost.pass.kept_bytes / 1e10 + 4e-4) +
         2 * static_cast<double>(bytes.optimizer) / 1e10 + 1e-3;
}

std::vector<OwnRun> runs_of(const std::vector<std::int64_t>& widths) {
  std::vector<OwnRun> runs;
  for (const std::int64_t width : widths) {
    for (const bool dense : {false, true}) {
      for (const RunLayout& layout : {RunLayout{.micro_batch = 4},
                                      RunLayout{.micro_batch = 16},
                                      RunLayout{.dp = 2, .micro_batch = 4},
                                      RunLayout{.tp = 2, .micro_batch = 8}}) {
        OwnRun run{.name = fmt::format("{}{}/{}",
                                       dense ? "dense-" : "cp-",
                                       width,
                                       arguments_of(layout)),
                   .options = options_of(width, dense),
                   .layout = layout,
                   .dtype = at::kFloat,
                   .seconds = 0,
                   .rss_bytes = 0,
                   .peak_flops = kPeak};
        run.seconds = seconds_of(run);
        run.rss_bytes = cost_of_run(run.options, layout, run.dtype, at::kCPU)
                            .memory.model() +
                        3e8;
        runs.push_back(run);
      }
    }
  }
  return runs;
}

TEST(OwnPredictor, KnowsShapesBetweenThoseThatWereMeasured) {
  const OwnPredictor predictor(runs_of({64, 128, 256, 384}));
  double error = 0;
  int held = 0, count = 0;
  for (const OwnRun& run : runs_of({96, 192, 320})) {
    const Prediction predicted = predictor.predict(run);
    error += std::abs(predicted.seconds / run.seconds - 1);
    held += predicted.holds(run.seconds) ? 1 : 0;
    ++count;
    EXPECT_LT(predicted.low, predicted.seconds);
    EXPECT_GT(predicted.high, predicted.seconds);
    EXPECT_NEAR(predictor.memory_bytes(run) / run.rss_bytes, 1, 0.03);
  }
  EXPECT_LT(error / count, 0.06);
  EXPECT_GE(held, count * 8 / 10);
}

TEST(OwnPredictor, IsLessCertainOfWhatIsUnlikeAllOfThem) {
  const OwnPredictor predictor(runs_of({64, 96, 128, 192}));
  const auto width_of = [&](std::int64_t width) {
    return predictor.predict(runs_of({width}).front()).half_width();
  };
  EXPECT_LT(width_of(128), width_of(1024));
  // No study of one hour knows what another brings.
  EXPECT_GT(width_of(128), 1.645 * 0.03);
}

// bf16 that multiplies twice as fast has rates of its own, and is taken.
TEST(OwnPredictor, KnowsPrecisionsApart) {
  std::vector<OwnRun> runs = runs_of({64, 128, 256});
  const OwnPredictor fp32(runs);
  EXPECT_EQ(fp32.peak_flops(at::kBFloat16), kPeak);
  EXPECT_EQ(fp32.dtype_for(run::Precision::automatic), at::kFloat);
  const std::size_t count = runs.size();
  for (std::size_t i = 0; i < count; ++i) {
    OwnRun rounded = runs[i];
    rounded.dtype = at::kBFloat16;
    rounded.peak_flops = 2 * kPeak;
    rounded.seconds *= 0.6;
    runs.push_back(rounded);
  }
  const OwnPredictor both(runs);
  EXPECT_EQ(both.peak_flops(at::kBFloat16), 2 * kPeak);
  EXPECT_EQ(both.dtype_for(run::Precision::automatic), at::kBFloat16);
  EXPECT_EQ(both.dtype_for(run::Precision::fp32), at::kFloat);
  OwnRun between = runs_of({192}).front();
  const double wide = both.predict(between).seconds;
  between.dtype = at::kBFloat16;
  EXPECT_NEAR(both.predict(between).seconds / wide, 0.6, 0.08);
}

TEST(OwnPredictor, KeepsBackWhatIsOneModel) {
  const std::vector<OwnRun> runs = runs_of({64, 128});
  // Dense and CP, each on four layouts.
  EXPECT_EQ(shape_of(runs[0]), shape_of(runs[3]));
  EXPECT_NE(shape_of(runs[3]), shape_of(runs[4]));
  EXPECT_NE(shape_of(runs[0]), shape_of(runs[8]));
  OwnRun rounded = runs[0];
  rounded.dtype = at::kBFloat16;
  EXPECT_NE(shape_of(runs[0]), shape_of(rounded));
}

TEST(OwnPredictor, NeedsTwoRuns) {
  const std::vector<OwnRun> runs = runs_of({64});
  testing::expect_input_error(
      [&] { OwnPredictor{std::span<const OwnRun>(runs.data(), 1)}; },
      {"at least two measured runs"});
}

/// A line of a study, of `step_ms` milliseconds.
std::string line_of(int repeat, double step_ms, const std::string& failed) {
  ScaleResult result;
  result.cell = "cp/1x2-sequence/strong";
  result.dp = 1;
  result.tp = 2;
  result.ranks = 2;
  result.zero = 1;
  result.micro_batch = 8;
  result.batch = 16;
  result.precision = "bf16";
  result.repeat = repeat;
  result.step_ms = step_ms;
  result.targets_per_s = 1e6 / step_ms;
  result.mfu = 0.5;
  result.flops_per_target = 1e6;
  result.rss_mib = 100 + repeat;
  result.dp_bytes = 1;
  result.tp_bytes = 2;
  result.all_bytes = 3;
  result.failed = failed;
  return to_json(result) + "\n";
}

TEST(OwnRuns, AreTheMediansOfTheCellsThatWereMeasured) {
  const ScratchFolder folder;
  run::Options options = options_of(64, false);
  options.parallel.tp = 2;
  options.parallel.plan = Plan::sequence;
  folder.write("results.jsonl",
               line_of(0, 20, "") + line_of(1, 0, "it ended with code 5") +
                   line_of(2, 30, "") + line_of(3, 22, ""));
  folder.write("cells/cp/1x2-sequence/strong/0/config.cfg",
               run::to_config_text(options));
  const auto runs = own_runs(folder.path());
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].name, "cp/1x2-sequence/strong");
  EXPECT_DOUBLE_EQ(runs[0].seconds, 0.022);
  EXPECT_DOUBLE_EQ(runs[0].rss_bytes, 102 * 1048576.0);
  EXPECT_EQ(runs[0].moved, (StepMoved{.dp = 1, .tp = 2, .all = 3}));
  EXPECT_EQ(runs[0].dtype, at::kBFloat16);
  EXPECT_EQ(runs[0].layout,
            (RunLayout{.tp = 2, .plan = Plan::sequence, .micro_batch = 8}));
  // 1e6 FLOPs a target, 1e6 / 22 of them a second, half the peak of two.
  EXPECT_NEAR(runs[0].peak_flops, 1e6 * 1e6 / 22 / 0.5 / 2, 1);
  EXPECT_EQ(runs[0].options.model.width, 64);
}

TEST(OwnRuns, SayWhatIsMissing) {
  const ScratchFolder folder;
  testing::expect_input_error([&] { own_runs(folder.path()); },
                              {"results.jsonl", "no cell was measured"});
  folder.write("results.jsonl", line_of(0, 20, ""));
  testing::expect_input_error([&] { own_runs(folder.path()); }, {"config.cfg"});
}

TEST(OwnPredictor, DoesNotKnowWhatRanksTakeThatShareCores) {
  const auto runs = runs_of({32, 64, 96});
  OwnRun four = runs.front();
  four.layout = {.dp = 4, .micro_batch = 4};
  testing::expect_input_error(
      [&] { OwnPredictor(runs, /*cores=*/2).predict(four); },
      {"4 ranks: expected at most 2"});
  EXPECT_GT(OwnPredictor(runs, /*cores=*/4).predict(four).seconds, 0);
  four.seconds = 1;
  auto with_four = runs;
  with_four.push_back(four);
  EXPECT_GT(OwnPredictor(with_four, /*cores=*/2).predict(four).seconds, 0);
}

}  // namespace
}  // namespace mumoe::study
