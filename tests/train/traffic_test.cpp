// What the ranks of a cut model exchange in a step, counted by the
// communicators: attention, MLP, and the sum of whole parameters apart.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "dist/params/gradient_reducer.h"
#include "model/gpt2.h"
#include "mumoe/plan_cost.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/tokens.h"

namespace mumoe {
namespace {

constexpr std::int64_t kSamples = 2;

model::ModelConfig model_of(const std::string& mlp, std::int64_t depth) {
  model::ModelConfig config = testing::small_config(depth, /*context=*/12);
  config.set_mlp(mlp);
  config.mlp.ranks = mlp == "cp" ? std::vector<std::int64_t>{23}
                                 : std::vector<std::int64_t>{2, 3, 5};
  return config;
}

/// Elements that one step moves, all-reduced; gathered or scattered ones half.
struct Moved {
  double tp = 0;     ///< Forward and backward.
  double all = 0;    ///< Once a step.
  double whole = 0;  ///< Elements of parameters that are whole on all ranks.
};

double moved(const dist::Communicator& group) {
  using dist::Op;
  return static_cast<double>(group.traffic(Op::all_reduce).elements) +
         static_cast<double>(group.traffic(Op::all_gather).elements +
                             group.traffic(Op::reduce_scatter).elements) /
             2;
}

Moved step(const model::ModelConfig& config, Plan plan, int ranks) {
  Moved result;
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, 1, ranks);
    dist::ParameterRegistry registry(mesh.tp(), at::kDouble, at::kCPU);
    const Sharding sharding{plan, &mesh.tp()};
    const model::Gpt2 gpt2(config, registry, sharding);
    dist::FlatBuckets buckets(
        registry,
        mesh,
        {.whole_is_partial = sharding.region().tokens_cut()});
    buckets.initialise(1);
    dist::GradientReducer reducer(buckets);
    const at::Tensor tokens =
        at::zeros({kSamples, config.context + 1}, at::kLong);
    reducer.begin(true);
    gpt2.loss(testing::next_token_batch(tokens), 1).backward();
    reducer.finish();
    if (world.rank() != 0) return;
    result.tp = moved(mesh.tp());
    result.all = moved(mesh.dp_tp());
    for (const auto& p : registry.parameters()) {
      if (!p.placement.is_cut()) {
        result.whole += static_cast<double>(p.global_numel());
      }
    }
  });
  return result;
}

/// Of one more block, for a token.
double per_block(const std::string& mlp, Plan plan, int ranks) {
  const auto config = model_of(mlp, 1);
  return (step(model_of(mlp, 2), plan, ranks).tp -
          step(config, plan, ranks).tp) /
         static_cast<double>(kSamples * config.context);
}

TEST(Traffic, IsThatOfAttentionAndOfTheBlock) {
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(fmt::format("{}, {} ranks", to_string(plan), ranks));
      const auto config = model_of("dense", 1);
      const auto attention = 2.0 * static_cast<double>(config.width);
      const double megatron = attention;  // a dense MLP moves as much
      EXPECT_EQ(per_block("dense", plan, ranks), attention + megatron);
      for (const std::string mlp : {"cp", "tr"}) {
        const BlockConfig block = model_of(mlp, 1).block();
        EXPECT_EQ(
            per_block(mlp, plan, ranks),
            attention +
                plan_cost(block.shape(), block.ranks, plan, ranks).elements);
      }
    }
  }
}

TEST(Traffic, SumsWholeParametersOnceAStepUnderSequenceAlone) {
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(fmt::format("{}, {} ranks", to_string(plan), ranks));
      const Moved found = step(model_of("cp", 2), plan, ranks);
      if (plan != Plan::sequence) {
        EXPECT_EQ(found.all, 0);
        continue;
      }
      // Buckets are padded to a multiple of the ranks.
      EXPECT_GE(found.all, found.whole);
      EXPECT_LT(found.all, found.whole + 8 * ranks);
    }
  }
}

}  // namespace
}  // namespace mumoe
