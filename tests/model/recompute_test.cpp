// What recomputes its blocks is what keeps them, bit for bit.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::testing {
namespace {

using model::Recompute;

model::ModelConfig recomputing(model::ModelConfig config, Recompute recompute) {
  config.recompute = recompute;
  config.mlp.recompute = false;
  return config;
}

void expect_same_bits(const model::ModelConfig& base,
                      Plan plan,
                      dist::Communicator& tp,
                      at::ScalarType dtype) {
  const at::Tensor tokens = random_tokens(3, base.context + 1, base.vocab);
  const at::Tensor ids = at::tensor({9, 4, 30}, at::kLong);
  ShardedModel kept(recomputing(base, Recompute::none), plan, tp, dtype);
  const double expected = kept.run(tokens, ids);
  for (const auto recompute : {Recompute::mixture, Recompute::everything}) {
    ShardedModel again(recomputing(base, recompute), plan, tp, dtype);
    EXPECT_EQ(again.run(tokens, ids), expected);
    for (const auto& [name, gradient] : kept.gradients) {
      EXPECT_TRUE(again.gradients.at(name).equal(gradient)) << name;
    }
  }
}

TEST(Recompute, HasTheSameBits) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const auto& [name, config] : sharded_cases()) {
    for (const double dropout : {0.0, 0.2}) {
      auto dropping = config;
      dropping.dropout = dropout;
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(fmt::format("{} {}", name, dropout));
        expect_same_bits(dropping, Plan::sequence, *self, dtype);
      }
    }
  }
}

TEST(Recompute, HasTheSameBitsOverTensorParallelRanks) {
  for (const auto& [name, config] : sharded_cases()) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      SCOPED_TRACE(fmt::format("{} {}", name, to_string(plan)));
      auto dropping = config;
      dropping.dropout = 0.1;
      dist::ThreadWorld::run(2, [&](dist::Communicator& tp) {
        expect_same_bits(dropping, plan, tp, at::kFloat);
      });
    }
  }
}

TEST(Recompute, NobodyIsToldTwice) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto config =
      recomputing(sharded_cases()[1].config, Recompute::everything);
  ShardedModel m(config, Plan::sequence, *self, at::kFloat);
  int told = 0;
  for (const MuMoEBlock* block : m.gpt2.mixtures()) {
    block->watch([&](const auto&) { ++told; });
  }
  m.run(random_tokens(3, config.context + 1, config.vocab));
  EXPECT_EQ(told, config.depth);
  EXPECT_GT(m.gpt2.mixtures()[0]->last_mixing().active, 0);
}

TEST(Recompute, KeepsNothingWithoutGradients) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto base = sharded_cases()[1].config;
  ShardedModel kept(base, Plan::sequence, *self, at::kFloat);
  ShardedModel again(recomputing(base, Recompute::everything),
                     Plan::sequence,
                     *self,
                     at::kFloat);
  const auto batch =
      next_token_batch(random_tokens(3, base.context + 1, base.vocab));
  EXPECT_EQ(again.gpt2.score(batch).loss, kept.gpt2.score(batch).loss);
}

}  // namespace
}  // namespace mumoe::testing
