#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "dist/self_communicator.h"
#include "run/manifest.h"
#include "tests/support/save_checkpoint.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"
#include "train/schedule.h"

namespace mumoe {
namespace {

using testing::ScratchFolder;
using testing::SmallRun;
using testing::train_small;

/// Stops at step 7 of 15 and goes on, in the arithmetic of `dtype`.
void expect_identical_after_resume(dist::Communicator& world,
                                   at::ScalarType dtype,
                                   const std::filesystem::path& folder,
                                   int zero = 0,
                                   dist::Wire wire = dist::Wire::fp32) {
  SmallRun run;
  run.dtype = dtype;
  run.zero = zero;
  run.wire = wire;
  run.steps = 15;
  run.out = folder / "whole";
  const auto whole = train_small(world, run);
  run.out = folder / "parts";
  run.steps = 7;
  train_small(world, run);
  run.steps = 15;
  run.resume = true;
  const auto resumed = train_small(world, run);
  EXPECT_TRUE(at::equal(whole.weights, resumed.weights));
  EXPECT_EQ(whole.val_loss, resumed.val_loss);
}

TEST(Resume, EndsWithTheSameBits) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const auto dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    const ScratchFolder folder;
    expect_identical_after_resume(*self, dtype, folder.path());
  }
}

TEST(Resume, EndsWithTheSameBitsOnTwoRanks) {
  const ScratchFolder folder;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    expect_identical_after_resume(world, at::kFloat, folder.path());
  });
}

TEST(Resume, EndsWithTheSameBitsWithShardedStateAndBf16OnTheWire) {
  for (const int zero : {0, 1}) {
    const ScratchFolder folder;
    dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
      expect_identical_after_resume(world,
                                    at::kBFloat16,
                                    folder.path(),
                                    zero,
                                    dist::Wire::bf16);
    });
  }
}

TEST(Resume, MetricsHoldEveryStepOnce) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  SmallRun run;
  run.out = folder.path();
  run.steps = 6;
  train_small(*self, run);
  // As if the run had gone on after its checkpoint, and then crashed.
  std::ofstream(folder.path() / "metrics.jsonl", std::ios::app)
      << R"({"step":7,"loss":1})"
      << "\n"
      << R"({"step":8,"lo)";
  run.steps = 9;
  run.resume = true;
  train_small(*self, run);
  std::ifstream in(folder.path() / "metrics.jsonl");
  std::int64_t step = 0;
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line);
    EXPECT_EQ(entry["step"].get<std::int64_t>(), ++step);
    EXPECT_GT(entry["loss"].get<double>(), 0);
    EXPECT_EQ(entry["tokens"].get<std::int64_t>(), step * 8 * 12);
  }
  EXPECT_EQ(step, 9);
}

TEST(Checkpoint, KeepsTheNewestAndNamesWhatIsBroken) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  SmallRun run;
  run.out = folder.path();
  for (const std::int64_t steps : {2, 4, 6}) {
    run.steps = steps;
    run.resume = steps > 2;
    train_small(*self, run);
  }
  const auto checkpoints = folder.path() / "checkpoints";
  EXPECT_FALSE(std::filesystem::exists(checkpoints / "step_00000002"));
  const auto latest = *run::latest_checkpoint(checkpoints);
  EXPECT_EQ(latest.filename(), "step_00000006");
  EXPECT_EQ(run::read_run_state(latest).step, 6);
  EXPECT_EQ(run::read_run_state(latest).samples, 48);

  const auto file = latest / "rank_00000.safetensors";
  const std::string bytes = read_file(file);
  write_file_atomically(file, bytes.substr(0, bytes.size() / 2));
  try {
    train_small(*self, run);
    FAIL() << "a truncated checkpoint was read";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos);
  }
}

// On a GPU the next step mixes by what the last one found.
TEST(Checkpoint, KeepsHowAGpuMixesExperts) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  dist::ProcessMesh mesh(*self, 0, 1);
  dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kCPU);
  const model::Gpt2 gpt2(testing::small_model("cp"), registry);
  dist::FlatBuckets buckets(registry, mesh, {});
  buckets.initialise(1);
  const auto kept = [&](std::int64_t step, const run::RunState& state) {
    testing::save_checkpoint(folder.path(), state, buckets, {}, mesh, 9);
    return run::read_run_state(run::checkpoint_path(folder.path(), step));
  };
  EXPECT_FALSE(kept(1, {.step = 1}).mixing);
  const auto state = kept(2, {.step = 2, .mixing = {{1.0 / 32, 0.1}}});
  ASSERT_TRUE(state.mixing);
  EXPECT_EQ(state.mixing->sparse_share, 1.0 / 32);
  EXPECT_EQ(state.mixing->active, 0.1);
}

TEST(Checkpoint, AnUnwritableFolderFailsOnAllRanks) {
  const ScratchFolder folder;
  // A file where the folder should be stops root as well.
  write_file_atomically(folder.path() / "checkpoints", "in the way");
  std::atomic<int> refused = 0;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    SmallRun run;
    run.steps = 1;
    run.out = folder.path();
    try {
      train_small(world, run);
    } catch (const InputError&) {
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

TEST(NonFinite, StopsAllRanksBeforeTheWeightsChange) {
  std::atomic<int> stopped = 0;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    const ScratchFolder scratch;
    const auto tokens = testing::make_tokens(scratch.path() / "train.bin", 1);
    const data::TokenWindows windows(tokens, 12, 0);
    dist::ProcessMesh mesh(world, 0, 1);
    dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kCPU);
    const model::Gpt2 gpt2(testing::small_model("cp"), registry);
    dist::FlatBuckets buckets(registry, mesh, {.bytes = 4096});
    run::TrainerConfig config;
    config.batch = 4;
    train::Trainer trainer(config,
                           {},
                           {},
                           {mesh, gpt2, buckets, windows, windows});
    buckets.initialise(1);
    // One rank computes a NaN; both must see it.
    if (world.rank() == 1) {
      at::NoGradGuard no_grad;
      registry.at("h.1.mlp.layer2.output")
          .value.fill_(std::numeric_limits<float>::quiet_NaN());
    }
    const at::Tensor before = buckets.buckets()[0].master.clone();
    try {
      trainer.step();
    } catch (const NonFiniteError& error) {
      ++stopped;
      EXPECT_NE(std::string(error.what()).find("step 1"), std::string::npos);
    }
    EXPECT_TRUE(at::allclose(buckets.buckets()[0].master,
                             before,
                             0,
                             0,
                             /*equal_nan=*/true));
    EXPECT_EQ(trainer.state().step, 0);
  });
  EXPECT_EQ(stopped, 2);
}

TEST(Stop, ARequestToOneRankStopsAllAfterTheStep) {
  const ScratchFolder folder;
  std::atomic<int> preempted = 0;
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    const ScratchFolder scratch;
    const auto tokens = testing::make_tokens(scratch.path() / "train.bin", 1);
    const data::TokenWindows windows(tokens, 12, 0);
    dist::ProcessMesh mesh(world, 0, 1);
    dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kCPU);
    const model::Gpt2 gpt2(testing::small_model("cp"), registry);
    dist::FlatBuckets buckets(registry, mesh, {.bytes = 4096});
    buckets.initialise(1);
    run::TrainerConfig config;
    config.batch = 4;
    config.steps = 50;
    config.out = folder.path();
    config.log_every = 1 << 20;
    int asked = 0;
    train::Trainer trainer(config,
                           {},
                           {},
                           {mesh, gpt2, buckets, windows, windows, [&] {
                              return world.rank() == 1 && ++asked == 3;
                            }});
    preempted += trainer.run() == train::Outcome::preempted;
    EXPECT_EQ(trainer.state().step, 3);
  });
  EXPECT_EQ(preempted, 2);
  EXPECT_EQ(run::latest_checkpoint(folder.path() / "checkpoints")->filename(),
            "step_00000003");
}

/// Steps whose checkpoints are there after 4 steps, when one is due after
/// `minutes`.
std::vector<std::int64_t> checkpoints_by_time(double minutes) {
  std::vector<std::int64_t> steps;
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  SmallRun run;
  run.out = folder.path();
  run.steps = 4;
  run.checkpoint_minutes = minutes;
  train_small(*self, run);
  for (const auto& file :
       run::list_checkpoints(folder.path() / "checkpoints")) {
    steps.push_back(file.step);
  }
  return steps;
}

TEST(Trainer, SavesByTime) {
  EXPECT_EQ(checkpoints_by_time(1e-9), (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(checkpoints_by_time(1000), (std::vector<std::int64_t>{4}));
  EXPECT_EQ(checkpoints_by_time(0), (std::vector<std::int64_t>{4}));
}

// A step that beats the rate that was measured raises it.
TEST(Trainer, UtilisationIsNeverAboveOne) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ScratchFolder folder;
  SmallRun run;
  run.out = folder.path();
  run.steps = 6;
  run.peak_flops = 1;
  train_small(*self, run);
  std::ifstream in(folder.path() / "metrics.jsonl");
  int steps = 0;
  double best = 0;
  for (std::string line; std::getline(in, line); ++steps) {
    const auto entry = nlohmann::json::parse(line);
    const double mfu = entry["mfu"], rate = entry["tokens_per_s"];
    best = std::max(best, rate);
    EXPECT_NEAR(mfu, rate / best, 1e-12);
  }
  EXPECT_EQ(steps, 6);
}

TEST(BatchPlan, DealsSamplesAsEvenlyAsCanBe) {
  using train::BatchPlan;
  const auto plan = BatchPlan::make(24, 3, 2);
  EXPECT_EQ(plan.per_rank, 12);
  EXPECT_EQ(plan.micro_steps, 4);
  EXPECT_EQ(BatchPlan::make(24, 0, 4).micro_batch, 6);
  EXPECT_THROW(BatchPlan::make(2, 0, 3), InputError);
  EXPECT_THROW(BatchPlan::make(16, 5, 2), InputError);
  EXPECT_THROW(BatchPlan::make(0, 1, 1), InputError);
}

TEST(Batches, EveryLayoutSeesTheSameSamples) {
  const ScratchFolder scratch;
  const auto tokens = testing::make_tokens(scratch.path() / "t.bin", 1);
  const data::TokenWindows windows(tokens, 12, 5);
  const data::Order order(5, windows.size());
  const data::OrderedSamples sequence(windows, order);
  const auto step_of = [&](int dp_size, std::int64_t micro_batch) {
    const auto plan = train::BatchPlan::make(8, micro_batch, dp_size);
    std::vector<at::Tensor> inputs, targets, ids;
    for (int rank = 0; rank < dp_size; ++rank) {
      train::Batches batches(sequence,
                             train::deal_training(plan, rank, /*first=*/400),
                             at::kCPU);
      for (int micro = 0; micro < plan.micro_steps; ++micro) {
        const model::Batch batch = batches.next();
        if (plan.of_micro_batch(rank, micro).count == 0) continue;
        inputs.push_back(batch.input);
        targets.push_back(batch.target);
        ids.push_back(batch.ids);
      }
    }
    EXPECT_TRUE(at::equal(at::cat(ids), at::arange(400, 408, at::kLong)));
    return at::stack({at::cat(inputs), at::cat(targets)});
  };
  const at::Tensor one = step_of(1, 0);
  EXPECT_EQ(one.sizes(), (at::IntArrayRef{2, 8, 12}));
  EXPECT_EQ(one.scalar_type(), at::kLong);
  for (const int dp_size : {1, 2, 3, 4, 5, 8}) {
    EXPECT_TRUE(at::equal(step_of(dp_size, 0), one));
    EXPECT_TRUE(at::equal(step_of(dp_size, 1), one));
  }
}

TEST(Schedule, WarmsUpAndDecaysAsAFunctionOfTheStep) {
  run::ScheduleConfig schedule;
  schedule.lr = 1e-3;
  schedule.min_lr = 1e-4;
  schedule.warmup = 50;
  schedule.steps = 500;
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 0), 2e-5);
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 49), 1e-3);
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 50), 1e-3);
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 275), 5.5e-4);
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 500), 1e-4);
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 5000), 1e-4);
  schedule.kind = run::ScheduleKind::linear;
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 275), 5.5e-4);
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 140), 1e-3 - 0.2 * 9e-4);
  schedule.kind = run::ScheduleKind::constant;
  EXPECT_DOUBLE_EQ(train::learning_rate(schedule, 499), 1e-3);
  schedule.warmup = -1;
  EXPECT_THROW(schedule.validate(), InputError);
}

}  // namespace
}  // namespace mumoe
