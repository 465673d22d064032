// Needs a GPU (label gpu): optimizer and trainer there against the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "dist/self_communicator.h"
#include "tests/support/gpu.h"
#include "tests/train/small_run.h"
#include "train/optimizer.h"

namespace mumoe {
namespace {

using testing::gpu;
using testing::relative_error;
using testing::RunResult;
using testing::SmallRun;

RunResult train_on(at::Device device, SmallRun run) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto data = dist::make_self_communicator(device);
  run.device = device;
  run.data = data.get();
  return testing::train_small(*self, run);
}

/// Masters, moments and weights after three updates with drawn gradients.
std::vector<at::Tensor> update_on(at::Device device, at::ScalarType dtype) {
  const auto self = dist::make_self_communicator(device);
  dist::ParameterRegistry registry(*self, dtype, device);
  for (const std::int64_t size : {1, 300, 70'001}) {
    registry.add({.name = std::to_string(size),
                  .global_shape = {size},
                  .placement = {},
                  .decay = size == 300,
                  .init = dist::Initializer::normal(0, 1)});
  }
  dist::FlatBuckets buckets(registry, 1 << 16);
  buckets.initialise(2);
  train::AdamW optimizer({}, buckets);
  for (int step = 0; step < 3; ++step) {
    for (const auto& bucket : buckets.buckets()) {
      const at::Tensor places = at::arange(bucket.grad.numel(), at::kDouble);
      at::Tensor(bucket.grad).copy_(at::sin(places * 1.7 + step));
    }
    optimizer.step(1e-2, 0.5);
  }
  std::vector<at::Tensor> found;
  for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
    found.push_back(buckets.buckets()[b].master);
    found.push_back(optimizer.moments()[b].first);
    found.push_back(optimizer.moments()[b].second);
  }
  for (const auto& p : registry.parameters()) found.push_back(p.value.detach());
  for (at::Tensor& t : found) t = t.to(at::kCPU);
  return found;
}

TEST(TrainerGpu, UpdatesAreTheCpus) {
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-13},
                                         std::pair{at::kFloat, 1e-6},
                                         std::pair{at::kBFloat16, 1e-3}}) {
    const auto cpu = update_on(at::kCPU, dtype),
               there = update_on(gpu(), dtype);
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      EXPECT_LT(relative_error(there[i], cpu[i]), tolerance)
          << dtype << " " << i;
    }
  }
}

TEST(TrainerGpu, TrainsAsTheCpu) {
  for (const std::string mlp : {"cp", "tr", "dense"}) {
    SCOPED_TRACE(mlp);
    SmallRun run{.mlp = mlp, .micro_batch = 4, .steps = 3};
    const RunResult cpu = train_on(at::kCPU, run), there = train_on(gpu(), run);
    for (const auto& [name, gradient] : cpu.first_gradients) {
      // What is zero but for rounding (key biases) is left out.
      if (gradient.norm().item<double>() < 1e-14) continue;
      EXPECT_LT(relative_error(there.first_gradients.at(name), gradient), 1e-9)
          << name;
    }
    for (std::size_t s = 0; s < cpu.losses.size(); ++s) {
      EXPECT_NEAR(there.losses[s] / cpu.losses[s], 1, 1e-10);
    }
    EXPECT_LT(relative_error(there.weights, cpu.weights), 1e-8);
    // Counted on the device; some of them are inactive.
    ASSERT_EQ(there.active_shares.size(), cpu.active_shares.size());
    for (std::size_t s = 0; s < cpu.active_shares.size(); ++s) {
      EXPECT_NEAR(there.active_shares[s], cpu.active_shares[s], 1e-9);
    }
    EXPECT_TRUE(cpu.active_shares.empty() || cpu.active_shares.back() < 1);
    ASSERT_TRUE(there.gpu);
    EXPECT_GT(there.gpu->peak_mib, 0);
    EXPECT_GE(there.gpu->reserved_mib, there.gpu->peak_mib);
    EXPECT_FALSE(cpu.gpu);
  }
}

TEST(TrainerGpu, LowerPrecisionIsAsGoodAsTheCpus) {
  SmallRun run{.steps = 3};
  const RunResult exact = train_on(at::kCPU, run);
  const auto error = [&](at::Device device) {
    return relative_error(train_on(device, run).weights, exact.weights);
  };
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    run.dtype = dtype;
    const double bound = dtype == at::kFloat ? 1e-5 : 1.5 * error(at::kCPU);
    EXPECT_LT(error(gpu()), bound) << dtype;
  }
}

// A checkpoint of the one goes on on the other.
TEST(TrainerGpu, ResumesOnAnotherDevice) {
  SmallRun run{.steps = 6};
  const testing::ScratchFolder folder;
  run.out = folder.path() / "whole";
  const RunResult whole = train_on(at::kCPU, run);
  for (const bool first_there : {true, false}) {
    const at::Device cpu(at::kCPU);
    run.out = folder.path() / (first_there ? "there" : "here");
    run.steps = 3;
    run.resume = false;
    train_on(first_there ? gpu() : cpu, run);
    run.steps = 6;
    run.resume = true;
    const RunResult found = train_on(first_there ? cpu : gpu(), run);
    EXPECT_LT(relative_error(found.weights, whole.weights), 1e-8);
    EXPECT_NEAR(found.val_loss, whole.val_loss, 1e-9);
  }
}

}  // namespace
}  // namespace mumoe
