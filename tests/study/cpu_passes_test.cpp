// What a rank on a CPU passes over, beside sums done by hand.
#include "study/predict/cpu_passes.h"

#include <gtest/gtest.h>

#include "study/predict/model_work.h"

namespace mumoe::study {
namespace {

/// CP of 2 blocks: width 32, hidden 128, 6 experts, rank 8, 16 tokens.
run::Options small() {
  run::Options options;
  options.model.depth = 2;
  options.model.heads = 4;
  options.model.width = 32;
  options.model.context = 16;
  options.model.vocab = 64;
  options.model.mlp.hidden_dim = 128;
  options.model.mlp.experts = {6};
  options.model.mlp.ranks = {8};
  options.trainer.batch = 8;
  return options;
}

double bytes_of(PassKind kind,
                const RunLayout& layout,
                run::Options options = small()) {
  options.model.recompute = layout.recompute;
  const RunCost cost = cost_of_run(options, layout, at::kFloat, at::kCPU);
  double sum = 0;
  for (const Pass& pass : cpu_passes(options, cost, layout)) {
    if (pass.kind == kind) sum += pass.bytes;
  }
  return sum;
}

TEST(CpuPasses, AreThoseOfTheModel) {
  const RunLayout one{.micro_batch = 4};
  const double tokens = 4 * 16 * 2;  // of all blocks
  EXPECT_EQ(bytes_of(PassKind::norm, one), 2 * tokens * 32 * 4);
  EXPECT_EQ(bytes_of(PassKind::gate, one), tokens * 6 * 4);
  // q, m and c of two layers.
  EXPECT_EQ(bytes_of(PassKind::mixing, one), tokens * 2 * 3 * 8 * 4);
  EXPECT_EQ(bytes_of(PassKind::gelu, one), tokens * 128 * 4);
  EXPECT_EQ(bytes_of(PassKind::scores, one), 4 * 2 * 4 * 16 * 16 * 4);
  EXPECT_EQ(bytes_of(PassKind::logits, one), 4 * 16 * 64 * 4);
  run::Options dense = small();
  dense.model.dense = true;
  EXPECT_EQ(bytes_of(PassKind::gate, one, dense), 0);
  EXPECT_EQ(bytes_of(PassKind::mixing, one, dense), 0);
}

TEST(CpuPasses, AreCutByTpAsThePlanSays) {
  const RunLayout one{.micro_batch = 4};
  const auto share = [&](PassKind kind, Plan plan) {
    return bytes_of(kind, {.tp = 2, .plan = plan, .micro_batch = 4}) /
           bytes_of(kind, one);
  };
  EXPECT_EQ(share(PassKind::gate, Plan::sequence), 0.5);
  EXPECT_EQ(share(PassKind::gate, Plan::bottleneck), 1);
  EXPECT_EQ(share(PassKind::gelu, Plan::bottleneck), 0.5);
  EXPECT_EQ(share(PassKind::gelu, Plan::rank), 1);
  EXPECT_EQ(share(PassKind::scores, Plan::rank), 0.5);
}

TEST(CpuPasses, OfBlocksThatAreFormedAgainAreMore) {
  const RunLayout again{.micro_batch = 4,
                        .recompute = model::Recompute::everything};
  EXPECT_NEAR(bytes_of(PassKind::gate, again) /
                  bytes_of(PassKind::gate, {.micro_batch = 4}),
              4.0 / 3,
              1e-12);
  EXPECT_EQ(bytes_of(PassKind::logits, again),
            bytes_of(PassKind::logits, {.micro_batch = 4}));
}

// They are what a step does beside its products, where there is no GPU.
TEST(CpuPasses, AreThoseOfAStepOnACpu) {
  Machine cpu;
  cpu.multiprocessors = 0;
  cpu.gpus_per_node = 2;
  const RunLayout layout{.micro_batch = 4};
  const RunCost cost = cost_of_run(small(), layout, at::kFloat, at::kCPU);
  const StepWork work = model_work(small(), cost, layout, cpu);
  EXPECT_EQ(work.parts.front().passes.size(),
            cpu_passes(small(), cost, layout).size());
}

}  // namespace
}  // namespace mumoe::study
