// What a micro-batch of the 124M recipe asks of a GPU, counted and not
// computed: mumoe/kernels/README.md has the arithmetic.

#include <gtest/gtest.h>

#include <cstdio>

#include "data/text/token_windows.h"
#include "dist/self_communicator.h"
#include "launch/plan_choice.h"
#include "tests/fakes/sim_gpu.h"
#include "tests/train/small_run.h"

namespace mumoe {
namespace {

const at::Device kGpu(at::kCUDA, 0);

/// Counts of the step after the first, of `micro_steps` micro-batches of 16.
fakes::GpuCounts counts_of_step(std::int64_t micro_steps) {
  const testing::ScratchFolder scratch;
  const data::TokenFile tokens =
      testing::make_tokens(scratch.path() / "train.bin", 1);
  model::ModelConfig shape;
  shape.depth = 12;
  shape.heads = 12;
  shape.width = 768;
  shape.context = 1024;
  shape.vocab = 50304;
  shape.bias = false;
  shape.mlp.hidden_dim = 3072;
  shape.mlp.experts = {256};
  shape.mlp.ranks = {556};
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto alone = dist::make_self_communicator(kGpu);
  dist::ProcessMesh mesh(*self, 0, 1, alone.get());
  dist::ParameterRegistry registry(mesh.tp(),
                                   at::kBFloat16,
                                   kGpu,
                                   /*decay_all=*/false,
                                   train::row_multiple(kGpu));
  const model::Gpt2 gpt2(shape, registry);
  dist::FlatBuckets buckets(registry,
                            mesh,
                            train::bucket_options({}, {}, kGpu));
  buckets.initialise(1);
  run::TrainerConfig config;
  config.steps = 3;
  config.micro_batch = 16;
  config.batch = 16 * micro_steps;
  config.log_every = 1 << 20;
  const data::TokenWindows windows(tokens, shape.context);
  train::Trainer trainer(config,
                         {},
                         {},
                         {mesh, gpt2, buckets, windows, windows});
  trainer.step();
  fakes::take_gpu_counts();
  trainer.step();
  return fakes::take_gpu_counts();
}

TEST(SimulatedCounts, OfAMicroBatchOf124M) {
  fakes::sim_gpu().computes = false;
  fakes::sim_gpu().memory = std::int64_t{80} << 30;
  const auto one = counts_of_step(1), two = counts_of_step(2);
  for (const auto& [name, of] : two.by_name) {
    const auto found = one.by_name.find(name);
    const auto before =
        found == one.by_name.end() ? fakes::GpuCounts::Of{} : found->second;
    if (of.times == before.times) continue;
    std::printf("%5lld %8.3f GB  %s\n",
                static_cast<long long>(of.times - before.times),
                static_cast<double>(of.bytes - before.bytes) / 1e9,
                name.c_str());
  }
  const auto kernels = two.kernels - one.kernels;
  const double bytes = static_cast<double>(two.bytes - one.bytes);
  std::printf(
      "a micro-batch: %lld kernels, %.1f GB, "
      "%lld copies, %lld waits\n",
      static_cast<long long>(kernels),
      bytes / 1e9,
      static_cast<long long>(two.copies - one.copies),
      static_cast<long long>(two.synchronisations - one.synchronisations));
  std::printf(
      "a step besides: %lld kernels, %lld copies, %lld waits\n",
      static_cast<long long>(one.kernels - kernels),
      static_cast<long long>(2 * one.copies - two.copies),
      static_cast<long long>(2 * one.synchronisations - two.synchronisations));
  for (const auto& [name, of] : one.by_name) {
    if (name.rfind("wait", 0) == 0) {
      std::printf("%5lld  %s\n",
                  static_cast<long long>(of.times),
                  name.c_str());
    }
  }
  EXPECT_LE(kernels, 900);
  // The page's 62.9 GB: every operand of these operations once.
  EXPECT_LE(bytes, 1.05 * 62.9e9);
  EXPECT_GE(bytes, 0.95 * 62.9e9);
  EXPECT_LE(one.kernels - kernels, 60);
  EXPECT_EQ(two.copies - one.copies, 1);
  EXPECT_EQ(2 * one.copies - two.copies, 1);
  EXPECT_EQ(one.synchronisations, 1);
  EXPECT_EQ(two.synchronisations, 1);
}

}  // namespace
}  // namespace mumoe
