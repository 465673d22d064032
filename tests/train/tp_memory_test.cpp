// What one of P tensor-parallel ranks holds of GPT-2 124M's blocks, by the
// bytes of its tensors and by the size of the process. The other ranks are not
// there.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdio>

#include "dist/null_communicator.h"
#include "dist/params/flat_buckets.h"
#include "model/gpt2.h"
#include "tests/support/memory.h"

namespace mumoe {
namespace {

model::ModelConfig model_of(const std::string& mlp,
                            std::vector<std::int64_t> ranks) {
  model::ModelConfig config;
  config.depth = 2;
  config.heads = 16;
  config.vocab = 256;
  config.set_mlp(mlp);
  config.mlp.ranks = std::move(ranks);
  return config;
}

struct Held {
  std::int64_t weights = 0;  ///< Elements, padding included.
  double grown_mib = 0;      ///< The process, by a bf16 run's buckets.
};

Held hold(const model::ModelConfig& config, Plan plan, int tp) {
  malloc_trim(0);
  const double before = testing::private_mib();
  const auto world = dist::make_null_communicator({.dp = 1, .tp = tp});
  dist::ProcessMesh mesh(*world, 1, tp);
  dist::ParameterRegistry registry(mesh.tp(), at::kBFloat16, at::kCPU);
  const Sharding sharding{plan, &mesh.tp()};
  const model::Gpt2 gpt2(config, registry, sharding);
  dist::FlatBuckets buckets(
      registry,
      mesh,
      {.whole_is_partial = sharding.region().tokens_cut()});
  Held held;
  for (const auto& bucket : buckets.buckets()) {
    bucket.grad.fill_(1);
    bucket.master.fill_(1);
    bucket.compute.fill_(1);
  }
  for (const auto& p : registry.parameters()) held.weights += p.value.numel();
  malloc_trim(0);
  held.grown_mib = testing::private_mib() - before;
  return held;
}

std::int64_t up(std::int64_t extent, int ranks) {
  return (extent + ranks - 1) / ranks;
}

/// Elements of one block and its attention on one of `ranks`, from the plans'
/// table: CP, C = 768, H = 3072, N = 256, R.
std::int64_t expected_block(std::int64_t rank, Plan plan, int ranks) {
  constexpr std::int64_t kC = 768, kH = 3072, kN = 256;
  const std::int64_t attention = 4 * kC * kC / ranks + kC;
  const std::int64_t whole = kC * kN + 2 * kC;
  if (plan == Plan::rank) {
    const std::int64_t r = up(rank, ranks);
    return attention + whole + r * (2 * kN + kC + 1 + kH + kH + 1 + kC);
  }
  return attention + whole + rank * (2 * kN + kC + 1 + 1 + kC) +
         2 * up(kH, ranks) * rank;
}

TEST(TpMemory, WeightsOfARankFallAsTheTableSays) {
  constexpr std::int64_t kRank = 599;  // prime: padded under the plan rank
  const auto config = model_of("cp", {kRank});
  const std::int64_t positions = config.context * config.width + config.width;
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    for (const int ranks : {1, 2, 4, 8}) {
      const Held held = hold(config, plan, ranks);
      const std::int64_t expected = positions +
                                    up(config.vocab, ranks) * config.width +
                                    2 * expected_block(kRank, plan, ranks);
      EXPECT_EQ(held.weights, expected) << to_string(plan) << " " << ranks;
      // bf16 weight, fp32 gradient and master: 10 bytes.
      const double mib = 10.0 * static_cast<double>(expected) / (1 << 20);
      EXPECT_NEAR(held.grown_mib / mib, 1, 0.05)
          << to_string(plan) << " " << ranks;
      std::printf("%s, %d ranks: %.2f M weights a rank, process + %.1f MiB\n",
                  to_string(plan).data(),
                  ranks,
                  1e-6 * static_cast<double>(held.weights),
                  held.grown_mib);
    }
  }
}

}  // namespace
}  // namespace mumoe
