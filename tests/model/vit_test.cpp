// The ViT: sizes as published, the same at every layout, and a backbone that
// keeps its weights.
#include "model/vit.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/self_communicator.h"
#include "model/vit_config.h"
#include "tests/support/errors.h"
#include "tests/support/small_vit.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::model {
namespace {

using at::Tensor;
using testing::made_up_batch;
using testing::small_clip;
using testing::small_vit;
using testing::VitOnMesh;

/// B/32 as CLIP has it, B/16 as DINO has it.
ModelConfig base(std::int64_t patch, bool clip) {
  ModelConfig c;
  c.patch = patch;
  c.bias = c.dense = true;
  c.norm_pre = clip;
  return c;
}

std::int64_t parameters_of(const ModelConfig& config) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kMeta);
  const Vit vit(config, registry);
  return registry.global_numel();
}

TEST(Vit, HasAsManyParametersAsPublished) {
  const std::int64_t linear = 768 * 1000 + 1000;
  EXPECT_EQ(parameters_of(base(32, true)) - linear, 87'456'000);
  EXPECT_EQ(parameters_of(base(16, false)) - linear, 85'798'656);
  ModelConfig head = base(32, true);
  head.set_head("cp");
  head.mlp.experts = {64};
  head.mlp.ranks = {393};
  EXPECT_EQ(parameters_of(head), 87'456'000 + 769'521);
  head.frozen = true;
  EXPECT_EQ(parameters_of(head), 87'456'000 + 769'521);
}

/// What one step leaves: of all ranks, whole.
struct Step {
  double loss = 0;
  NamedTensors gradients;
  NamedTensors weights;  ///< And running statistics.
};

Step step(VitOnMesh& on, const Batch& batch) {
  Step step;
  step.loss = on.loss(batch);
  step.gradients = on.tensors(&dist::Bucket::grad);
  step.weights = on.tensors(&dist::Bucket::master);
  return step;
}

/// Relative to each tensor, or to all together where it is zero but for
/// rounding: key biases.
void expect_same(const NamedTensors& found, const NamedTensors& expected) {
  ASSERT_EQ(found.tensors.size(), expected.tensors.size());
  double squares = 0;
  for (const auto& [name, tensor] : expected.tensors) {
    squares += tensor.square().sum().item<double>();
  }
  const double all = std::sqrt(squares);
  for (const auto& [name, tensor] : expected.tensors) {
    const double norm = tensor.norm().item<double>();
    const double error = (found.at(name) - tensor).norm().item<double>();
    EXPECT_LT(error, 1e-10 * (norm > 1e-12 * all ? norm : all)) << name;
  }
}

void expect_same(const Step& found, const Step& expected) {
  EXPECT_NEAR(found.loss / expected.loss, 1, 1e-10);
  expect_same(found.gradients, expected.gradients);
  expect_same(found.weights, expected.weights);
}

Step alone(const ModelConfig& config, const Batch& batch) {
  const auto self = dist::make_self_communicator(at::kCPU);
  VitOnMesh on(config, *self);
  return step(on, batch);
}

ModelConfig with_all_that_is_random(ModelConfig config) {
  config.stochastic_depth = 0.6;
  config.label_smoothing = 0.1;
  return config;
}

TEST(Vit, IsTheSameOnAnyNumberOfDataParallelRanks) {
  for (const auto& [name, small] : testing::vit_cases()) {
    const ModelConfig config = with_all_that_is_random(small);
    const Batch batch = made_up_batch(config, 7);  // divides by none
    const Step expected = alone(config, batch);
    for (const int ranks : {2, 3}) {
      SCOPED_TRACE(fmt::format("{}, dp {}", name, ranks));
      dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
        VitOnMesh on(config, world);
        expect_same(step(on, batch), expected);
      });
    }
  }
}

TEST(Vit, IsTheSameCutByEveryPlan) {
  for (const auto& [name, small] : testing::vit_cases()) {
    const ModelConfig config = with_all_that_is_random(small);
    const Batch batch = made_up_batch(config, 8);
    const Step expected = alone(config, batch);
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      for (const auto& [ranks, tp] :
           {std::pair{2, 2}, std::pair{4, 2}, std::pair{4, 4}}) {
        SCOPED_TRACE(fmt::format("{}, {}, {} x {}",
                                 name,
                                 to_string(plan),
                                 ranks / tp,
                                 tp));
        dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
          VitOnMesh on(config, world, tp, plan);
          expect_same(step(on, batch), expected);
        });
      }
    }
  }
}

TEST(Vit, ScoresAnyNumberOfImagesWhereSamplesAreCut) {
  const ModelConfig config = testing::vit_cases()[3].config;
  const Batch batch = made_up_batch(config, 5);
  const auto self = dist::make_self_communicator(at::kCPU);
  VitOnMesh one(config, *self);
  const Score expected = one.model.score(batch);
  const Tensor features = one.model.features(batch.input);
  EXPECT_EQ(features.sizes(), (at::IntArrayRef{5, config.width}));
  dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
    VitOnMesh on(config, world, 2, Plan::sequence);
    const Score score = on.model.score(batch);
    EXPECT_NEAR(score.loss / expected.loss, 1, 1e-12);
    EXPECT_EQ(score.top1, expected.top1);
    EXPECT_EQ(score.top5, expected.top5);
    EXPECT_LT(testing::relative_error(on.model.features(batch.input), features),
              1e-12);
    EXPECT_THROW(on.model.loss(batch, 1), InputError);
  });
}

// Frozen, the head has the gradients that it has in training, and the backbone
// neither gradients nor moved statistics.
TEST(Vit, KeepsAFrozenBackbone) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const auto& [name, small] : testing::vit_cases()) {
    SCOPED_TRACE(name);
    ModelConfig config = small;
    // Batch norms of a trained backbone would use the batch.
    if (!config.dense) config.mlp.gate.norm = GateNorm::layer;
    config.frozen = false;
    const Batch batch = made_up_batch(config, 6);
    const Step trained = alone(config, batch);
    config.frozen = true;
    const Step frozen = alone(config, batch);
    EXPECT_NEAR(frozen.loss / trained.loss, 1, 1e-12);
    NamedTensors of_head;
    for (const auto& [name, gradient] : trained.gradients.tensors) {
      if (name.starts_with("head.")) of_head.tensors[name] = gradient;
    }
    expect_same(frozen.gradients, of_head);
    expect_same(frozen.weights, trained.weights);
  }
}

TEST(Vit, DoesNotMoveAFrozenBackbonesStatistics) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ModelConfig config = small_vit("cp");
  config.frozen = true;
  VitOnMesh on(config, *self);
  const auto before = on.tensors(&dist::Bucket::master);
  const Batch batch = made_up_batch(config, 6);
  const double first = on.loss(batch);
  on.model.score(batch);  // and back to training
  EXPECT_EQ(on.loss(batch), first);
  for (const auto& [name, tensor] : on.tensors(&dist::Bucket::master).tensors) {
    EXPECT_TRUE(tensor.equal(before.at(name))) << name;
  }
}

// In bf16 frozen weights are computed with as trained ones are.
TEST(Vit, RoundsFrozenWeightsAsTrainedOnes) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (ModelConfig config : {small_vit(), small_clip()}) {
    const Batch batch = made_up_batch(config, 6);
    VitOnMesh trained(config, *self, 1, Plan::bottleneck, at::kBFloat16);
    config.frozen = true;
    VitOnMesh frozen(config, *self, 1, Plan::bottleneck, at::kBFloat16);
    EXPECT_TRUE(at::equal(frozen.model.logits(batch.input),
                          trained.model.logits(batch.input)));
    const auto of = [](const VitOnMesh& on) {
      return dist::bytes_a_rank(on.buckets.layout());
    };
    EXPECT_LT(of(frozen).gradients, of(trained).gradients / 10);
    EXPECT_LT(of(frozen).optimizer, of(trained).optimizer / 10);
  }
}

TEST(Vit, RefusesWhatDoesNotFitByName) {
  const auto refused = [](auto change,
                          std::initializer_list<std::string> parts) {
    ModelConfig config = small_vit();
    change(config);
    testing::expect_input_error([&] { validate_vit(config); }, parts);
  };
  using C = ModelConfig;
  refused([](C& c) { c.patch = 4; },
          {"patch = 4", "image_size = 6", "but by 3"});
  refused([](C& c) { c.heads = 5; }, {"heads = 5", "width = 12", "by 4"});
  refused([](C& c) { c.norm_epsilon = 0; },
          {"norm_epsilon = 0", "more than 0"});
  refused([](C& c) { c.classes = 0; }, {"classes = 0", "at least 1"});
  refused([](C& c) { c.stochastic_depth = 1; }, {"stochastic_depth = 1"});
  refused(
      [](C& c) {
        c.set_head("cp"), c.mlp.ranks = {2, 3};
      },
      {"mlp.ranks = 2,3"});
  refused([](C& c) { c.set_mlp("cp"), c.set_head("tr"); },
          {"head = tr", "mlp = cp", "high_rank"});
  refused([](C& c) { c.set_mlp("cp"), c.gelu = Gelu::quick; },
          {"gelu = quick", "exact"});
  const ModelConfig config = small_vit();
  dist::ThreadWorld::run(2, [&](dist::Communicator& tp) {
    testing::expect_input_error(
        [&] {
          validate_vit_sharding(config, {Plan::sequence, &tp}, 3);
        },
        {"micro_batch = 3", "plan = sequence", "tp = 2", "bottleneck"});
    ModelConfig odd = config;
    odd.heads = 3;
    testing::expect_input_error(
        [&] {
          validate_vit_sharding(odd, {Plan::bottleneck, &tp}, 3);
        },
        {"tp = 2", "heads = 3"});
  });
}

}  // namespace
}  // namespace mumoe::model
