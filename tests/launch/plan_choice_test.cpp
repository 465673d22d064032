#include "launch/plan_choice.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dist/null_communicator.h"
#include "dist/self_communicator.h"
#include "tests/support/environment.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

using testing::ScratchFolder;
using testing::SetVariable;

constexpr const char* kUnequal = "rank 0 has avx2, rank 1 has portable";

run::Options small_options() {
  run::Options options;
  options.model.depth = 1;
  options.model.heads = 2;
  options.model.width = 16;
  options.model.context = 16;
  options.trainer.batch = 4;
  return options;
}

/// What `require_layout` does in a mesh of dp × tp of which one rank is there.
void require_in(int dp,
                int tp,
                const run::Options& options,
                const std::string& unequal_cpus = "") {
  const auto world = dist::make_null_communicator({dp, tp, 0});
  const dist::ProcessMesh mesh(*world, dp, tp);
  require_layout(options, mesh, unequal_cpus);
}

TEST(Layout, WhatDoesNotDivideIsRefused) {
  run::Options options = small_options();
  EXPECT_NO_THROW(require_in(2, 2, options));
  EXPECT_NO_THROW(require_in(3, 1, options));  // 2, 1 and 1 samples
  testing::expect_input_error([&] { require_in(5, 1, options); },
                              {"train.batch = 4: expected at least 5"});
  testing::expect_input_error([&] { require_in(1, 3, options); },
                              {"parallel.tp = 3: model.heads = 2"});
  options.model.context = 15;
  testing::expect_input_error([&] { require_in(1, 2, options); },
                              {"parallel.plan = sequence", "context = 15"});
  for (const auto plan : {std::optional(Plan::bottleneck), {}}) {
    options.parallel.plan = plan;
    EXPECT_NO_THROW(require_in(1, 2, options));
  }
}

TEST(Layout, ADenseMlpHasNoRankToCut) {
  run::Options options = small_options();
  options.model.set_mlp("dense");
  options.parallel.plan = Plan::rank;
  testing::expect_input_error([&] { require_in(1, 2, options); },
                              {"parallel.plan = rank: a dense MLP has no rank",
                               "expected sequence or bottleneck"});
  EXPECT_NO_THROW(require_in(2, 1, options));
}

TEST(Layout, NothingIsMeasuredInANullWorld) {
  run::Options options = small_options();
  options.parallel.backend = run::BackendChoice::null;
  EXPECT_NO_THROW(require_in(1, 2, options));
  options.parallel.plan.reset();
  testing::expect_input_error([&] { require_in(1, 2, options); },
                              {"parallel.plan = auto: parallel.backend = null",
                               "expected sequence, bottleneck or rank"});
  EXPECT_NO_THROW(require_in(2, 1, options));
}

TEST(Layout, UnequalCpusCutTokens) {
  run::Options options = small_options();
  EXPECT_NO_THROW(require_in(1, 2, options, kUnequal));
  for (const Plan plan : {Plan::bottleneck, Plan::rank}) {
    options.parallel.plan = plan;
    EXPECT_NO_THROW(require_in(1, 2, options));
    EXPECT_NO_THROW(require_in(2, 1, options, kUnequal));
    testing::expect_input_error(
        [&] { require_in(1, 2, options, kUnequal); },
        {fmt::format("parallel.plan = {}", to_string(plan)),
         kUnequal,
         "MUMOE_ISA"});
  }
  options.parallel.plan.reset();
  EXPECT_NO_THROW(require_in(1, 2, options, kUnequal));
  options.model.context = 15;
  testing::expect_input_error([&] { require_in(1, 2, options, kUnequal); },
                              {"parallel.plan = auto", kUnequal});
}

TEST(Estimate, IsProductsExchangesAndSums) {
  const Machine machine{1e9, {.latency_s = 1e-3, .bytes_per_s = 1e6}};
  const model::Cost cost{
      .pass = {.rank_flops = 2e9, .tp_bytes = 3e6, .tp_operations = 5},
      .step = {.dp = 7'000'000, .all = 11'000'000}};
  // An all-reduce over n ranks moves 2 (n - 1) / n of its bytes.
  const double pass = 2 + 3 * 1.5 + 0.005;
  EXPECT_DOUBLE_EQ(step_seconds(cost, {.dp = 2, .tp = 4}, 3, machine),
                   3 * pass + 7 * 1 + 11 * 1.75);
  EXPECT_DOUBLE_EQ(step_seconds(cost, {.dp = 1, .tp = 4}, 3, machine),
                   3 * pass + 11 * 1.5);
}

TEST(Layout, AutoFindsAPlanForUnequalCpus) {
  dist::ThreadWorld::run(2, [](dist::Communicator& world) {
    const dist::ProcessMesh mesh(world, 1, 2);
    run::Options options = small_options();
    options.parallel.plan.reset();
    options.trainer.peak_flops = 1e9;
    const auto choose = [&](const std::string& unequal_cpus) {
      const auto batch = require_layout(options, mesh, unequal_cpus);
      return choose_plan(options,
                         mesh,
                         {at::kFloat, at::kCPU},
                         batch,
                         unequal_cpus);
    };
    EXPECT_NE(choose("").reason.find("bottleneck"), std::string::npos);
    const ChosenPlan chosen = choose(kUnequal);
    EXPECT_EQ(chosen.plan, Plan::sequence);
    EXPECT_EQ(chosen.reason, "the only one that can cut this");
    options.model.context = 15;
    EXPECT_NE(choose("").plan, Plan::sequence);
    options.model.set_mlp("dense");
    EXPECT_EQ(choose("").plan, Plan::bottleneck);
  });
}

// The rates of ranks that are not there are as this one's.
TEST(Peak, OfANullWorldCountsAllRanks) {
  const ScratchFolder cache;
  const SetVariable variable("MUMOE_CACHE", cache.path());
  const Compute compute{at::kFloat, at::Device(at::kCPU)};
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto null = dist::make_null_communicator({.dp = 32, .tp = 8});
  const run::Options options = small_options();
  const double one = measure_peak_flops(options, compute, *self, 2);
  const double all = measure_peak_flops(options, compute, *null, 2);
  EXPECT_GT(all / one, 256 / 8.0);
  EXPECT_LT(all / one, 256 * 8.0);
}

}  // namespace
}  // namespace mumoe::launch
