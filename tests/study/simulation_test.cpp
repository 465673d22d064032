// The step of a rank whose others are not there, on the meta device: the same
// operations as on a CPU, the model's own counts, any number of ranks.
#include "study/simulate/simulation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "study/simulate/calibration.h"
#include "study/simulate/lone_rank.h"
#include "study/simulate/meta_memory.h"
#include "study/simulate/operation_watch.h"
#include "tests/study/recipe_124m.h"
#include "tests/support/errors.h"

namespace mumoe::study {
namespace {

using std::chrono::steady_clock;

run::Options small(const std::string& family = "gpt2") {
  run::Options options;
  options.family = family;
  options.model.depth = 2;
  options.model.heads = 4;
  options.model.width = 32;
  options.model.context = 16;
  options.model.vocab = 64;
  options.model.mlp.hidden_dim = 64;
  options.model.mlp.experts = {16};
  options.model.mlp.ranks = {8};
  options.trainer.batch = 8;
  options.trainer.steps = 10;
  options.schedule.warmup = 1;
  options.schedule.steps = 10;
  return options;
}

/// Of a schedule that a trainer takes.
run::Options recipe() {
  run::Options options = recipe_124m();
  options.schedule.warmup = 1;
  options.schedule.steps = options.trainer.steps;
  return options;
}

/// Holds operations of null communicators off.
class Held final : public dist::Observer {
 public:
  explicit Held(OperationWatch& watch) : watch_(watch) {}
  void begin(const dist::Communicator&, const dist::Collective&) override {
    watch_.hold();
  }
  dist::Work started(const dist::Communicator&,
                     const dist::Collective&,
                     dist::Work work) override {
    watch_.release();
    return work;
  }

 private:
  OperationWatch& watch_;
};

/// Keeps what is done.
class Kept final : public OperationSink {
 public:
  void operation(const Operation& operation) override {
    keys.push_back(operation.key);
    bytes.push_back(operation.bytes);
  }

  std::vector<std::string> keys;
  std::vector<double> bytes;
};

/// The second step of a rank on `device`.
Kept step_on(at::Device device,
             const run::Options& options,
             const RunLayout& layout,
             double active) {
  Kept kept;
  OperationWatch watch(kept);
  watch.set_active_shares({active});
  LoneRank rank(options, layout, at::kFloat, device, c10::kCPU);
  Held held(watch);
  rank.observe(held);
  rank.step();
  watch.pause();
  kept = {};
  rank.step();
  watch.pause();
  return kept;
}

/// One after the other: where they part.
void expect_equal(const Kept& a, const Kept& b) {
  for (std::size_t i = 0; i < std::min(a.keys.size(), b.keys.size()); ++i) {
    ASSERT_EQ(a.keys[i], b.keys[i]) << "operation " << i;
    ASSERT_EQ(a.bytes[i], b.bytes[i]) << "operation " << i << ", " << a.keys[i];
  }
  EXPECT_EQ(a.keys.size(), b.keys.size());
}

struct Shape {
  const char* name;
  RunLayout layout;
  std::vector<std::int64_t> ranks = {8};
  bool dense = false;
};

class SameSteps : public ::testing::TestWithParam<Shape> {};

TEST_P(SameSteps, OnTheMetaDeviceAsOnACpu) {
  run::Options options = small();
  options.model.mlp.ranks = GetParam().ranks;
  if (GetParam().ranks.size() > 1) options.model.mlp.form = Form::tensor_ring;
  options.model.dense = GetParam().dense;
  // The weights of the start keep nearly all coefficients.
  const auto cpu = step_on(at::kCPU, options, GetParam().layout, 1);
  const auto meta = step_on(at::kMeta, options, GetParam().layout, 1);
  EXPECT_GT(cpu.keys.size(), 100U);
  expect_equal(cpu, meta);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts,
    SameSteps,
    ::testing::Values(
        Shape{"alone", {.micro_batch = 4}},
        Shape{"dense", {.dp = 2, .micro_batch = 4}, {8}, true},
        Shape{"dp", {.dp = 4, .micro_batch = 1}},
        Shape{"sequence", {.dp = 2, .tp = 2, .micro_batch = 2}},
        Shape{"bottleneck",
              {.tp = 4, .plan = Plan::bottleneck, .micro_batch = 4}},
        Shape{"rank", {.tp = 2, .plan = Plan::rank, .zero = 0}},
        Shape{"recompute",
              {.dp = 2,
               .micro_batch = 2,
               .recompute = model::Recompute::everything}},
        Shape{"tensor_ring", {.tp = 2, .micro_batch = 2}, {4, 4, 4}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Simulation, MultipliesWhatTheModelSays) {
  const run::Options options = recipe();
  for (const RunLayout& layout :
       {RunLayout{.dp = 8, .micro_batch = 16},
        RunLayout{.dp = 4, .tp = 2, .micro_batch = 32},
        RunLayout{.dp = 2, .tp = 4, .plan = Plan::bottleneck, .micro_batch = 8},
        RunLayout{.dp = 8,
        .micro_batch = 16,
        .recompute = model::Recompute::mixture}}) {
    SCOPED_TRACE(arguments_of(layout));
    const auto cost =
        cost_of_run(options, layout, at::kBFloat16, at::Device(at::kCUDA, 0));
    const Machine machine = Machines().named("h100-80g");
    NetworkModel network;
    network.machine = machine;
    const auto step = simulate({.options = options,
                                .layout = layout,
                                .charges = MachineCharges(machine, {}),
                                .network = network,
                                .steps = 1});
    const double said =
        (cost.cost.pass.rank_flops + cost.cost.pass.repeated_flops) *
        static_cast<double>(cost.batch.micro_steps);
    // Mixing is repeated in backward, which is nowhere counted as work.
    const double cut = layout.plan == Plan::sequence ? layout.tp : 1;
    const double mixing =
        2.0 * 256 * 556 * 2 * 12 * 1024 * 512 / (layout.dp * cut);
    // So are the scores of fused attention.
    const double scores = 2.0 * 512 * 768 * 12 * 1024 * 512 / layout.ranks();
    const double rest = (step.flops - mixing - scores) / said;
    EXPECT_GE(rest, 1 - 1e-6);
    EXPECT_LE(rest, 1.005) << "a GPU's rows of 560 for R = 556";
    EXPECT_DOUBLE_EQ(
        static_cast<double>(step.tp_bytes),
        cost.cost.pass.tp_bytes * static_cast<double>(cost.batch.micro_steps));
    EXPECT_EQ(step.dp_bytes, cost.cost.step.dp);
    EXPECT_EQ(step.all_bytes, cost.cost.step.all);
    // What plan says of memory is what tensors are found to hold.
    EXPECT_NEAR(static_cast<double>(step.peak_bytes) / cost.memory.model(),
                1,
                0.15);
    double parts = step.products + step.kernels + step.passes + step.idle;
    for (const auto& [axis, seconds] : step.waits) parts += seconds;
    EXPECT_NEAR(parts / step.seconds, 1, 0.02) << "where the time goes";
  }
}

TEST(Simulation, HasAnyNumberOfRanksInSeconds) {
  run::Options options = recipe();
  options.trainer.batch = 4096;
  const Machine machine = Machines().named("h100-80g");
  NetworkModel network;
  network.machine = machine;
  const auto began = steady_clock::now();
  const auto run = [&](int dp, std::int64_t batch) {
    options.trainer.batch = batch;
    return simulate({.options = options,
                     .layout = {.dp = dp, .tp = 4, .micro_batch = 4},
                     .charges = MachineCharges(machine, {}),
                     .network = network,
                     .steps = 1});
  };
  const auto many = run(1024, 4096), few = run(1, 4);
  EXPECT_LT(steady_clock::now() - began, std::chrono::seconds(60));
  EXPECT_EQ(few.dp_bytes, 0);
  EXPECT_GT(many.dp_bytes, 0);
  EXPECT_GT(many.seconds, few.seconds) << "there is dp to wait for";
  EXPECT_LT(many.peak_bytes, few.peak_bytes) << "ZeRO cuts over dp";
}

TEST(Simulation, LeavesNothingBehind) {
  const auto before = MetaMemory::held();
  const Machine machine = Machines().named("h100-80g");
  NetworkModel network;
  network.machine = machine;
  const run::Options options = small();
  const auto once = [&] {
    return simulate({.options = options,
                     .layout = {.dp = 2, .micro_batch = 2},
                     .charges = MachineCharges(machine, {}),
                     .network = network});
  };
  const auto first = once(), second = once();
  EXPECT_EQ(first.seconds, second.seconds);
  EXPECT_EQ(MetaMemory::held(), before);
  EXPECT_EQ(kernels::kernel_watch, nullptr);
}

TEST(Simulation, RefusesWhatCannotBeCut) {
  run::Options options = small();
  const Machine machine = Machines().named("h100-80g");
  NetworkModel network;
  network.machine = machine;
  const MachineCharges charges(machine, {});
  EXPECT_THROW(simulate({.options = options,
                         .layout = {.tp = 3, .micro_batch = 8},
                         .charges = charges,
                         .network = network}),
               InputError);
}

TEST(Calibration, AddsUpToTheStepThatWasMeasured) {
  run::Options options = small();
  options.model.width = 64;
  options.model.mlp.hidden_dim = 256;
  options.model.context = 64;
  options.trainer.batch = 4;
  const RunLayout layout{.micro_batch = 4};
  const auto calibration = calibrate(options, layout, at::kFloat, 5);
  EXPECT_GT(calibration.step_seconds, 0);
  EXPECT_EQ(calibration.active_shares.size(), 2U) << "one a block";
  NetworkModel network;
  network.link = dist::Bandwidth{0, 1};
  const auto step = simulate({.options = options,
                              .layout = layout,
                              .dtype = at::kFloat,
                              .kind = c10::kCPU,
                              .charges = calibration.charges,
                              .network = network,
                              .active_shares = calibration.active_shares});
  EXPECT_NEAR(step.seconds / calibration.step_seconds, 1, 0.05);
}

TEST(Charges, WhatWasNotMeasuredIsAsFastAsItsLike) {
  MeasuredCharges charges;
  const auto add = [](double bytes) {
    return Operation{Operation::Kind::passes,
                     "aten::add",
                     "aten::add " + std::to_string(bytes),
                     bytes,
                     {}};
  };
  charges.add(add(1e6), 1e-3);
  charges.add(add(1e6), 3e-3);
  EXPECT_DOUBLE_EQ(charges.seconds(add(1e6)), 2e-3);
  EXPECT_NEAR(charges.seconds(add(2e6)), 4e-3, 1e-4);
  charges.set_scale(0.5);
  EXPECT_DOUBLE_EQ(charges.seconds(add(1e6)), 1e-3);
  EXPECT_EQ(charges.seconds({Operation::Kind::passes, "aten::mul", "", 1, {}}),
            0);
}

}  // namespace
}  // namespace mumoe::study
