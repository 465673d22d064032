// The ViT: sizes as published, its formula written out, the same at every
// layout, and a backbone that keeps its weights.
#include "model/vit.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <map>
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

using Weights = std::map<std::string, Tensor>;

Tensor norm(const Tensor& x,
            const Weights& w,
            const std::string& name,
            double e) {
  const Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const Tensor variance = centred.square().mean(-1, /*keepdim=*/true);
  Tensor y = centred / (variance + e).sqrt() * w.at(name + ".weight");
  const auto bias = w.find(name + ".bias");
  return bias == w.end() ? y : y + bias->second;
}

Tensor affine(const Tensor& x,
              const Tensor& weight,
              const Weights& w,
              const std::string& bias) {
  const Tensor y = at::matmul(x, weight.t());
  const auto found = w.find(bias);
  return found == w.end() ? y : y + found->second.flatten();
}

/// Softmax over all tokens, head by head.
Tensor attention(const Tensor& z,
                 const Weights& w,
                 const std::string& p,
                 std::int64_t heads) {
  const std::int64_t width = z.size(2), d = width / heads;
  const Tensor qkv =
      affine(z, w.at(p + "qkv").reshape({3 * width, width}), w, p + "qkv_bias");
  std::vector<Tensor> each;
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto part = [&](std::int64_t which) {
      return qkv.narrow(2, which * width + h * d, d);
    };
    const Tensor scores = at::matmul(part(0), part(1).transpose(1, 2)) /
                          std::sqrt(static_cast<double>(d));
    each.push_back(at::matmul(scores.softmax(-1), part(2)));
  }
  return affine(at::cat(each, 2),
                w.at(p + "proj").reshape({width, width}),
                w,
                p + "proj_bias");
}

Tensor gelu(const Tensor& x, Gelu kind) {
  if (kind == Gelu::quick) return x * (1.702 * x).sigmoid();
  return 0.5 * x * (1 + (x / std::sqrt(2.0)).erf());
}

/// Of a layer of experts, by softmax gates without norm: Σ_n a_n (W_n z + b_n).
Tensor experts(const Tensor& z,
               const Tensor& a,
               const Weights& w,
               const std::string& p) {
  const Tensor input =
      at::matmul(z, w.at(p + "input")) + w.at(p + "input_bias");
  return at::matmul(at::matmul(a, w.at(p + "expert.0")) * input,
                    w.at(p + "output").t());
}

Tensor mlp(const Tensor& z,
           const Weights& w,
           const std::string& p,
           const ModelConfig& c) {
  if (!c.dense) {
    const Tensor a = at::matmul(z, w.at(p + "gate.0")).softmax(-1);
    const Tensor h = gelu(experts(z, a, w, p + "layer1."), Gelu::exact);
    return experts(h, a, w, p + "layer2.");
  }
  const Tensor h = gelu(affine(z, w.at(p + "fc"), w, p + "fc_bias"), c.gelu);
  return affine(h, w.at(p + "proj"), w, p + "proj_bias");
}

/// The logits of images, by a convolution and LibTorch's plain operations.
Tensor formula(const ModelConfig& c, const Weights& w, const Tensor& images) {
  const std::int64_t samples = images.size(0), p = c.patch;
  const Tensor kernel = w.at("stem.weight")
                            .view({c.width, p, p, c.channels})
                            .permute({0, 3, 1, 2});
  Tensor x =
      at::conv2d(images.view({samples, c.channels, c.image_size, c.image_size}),
                 kernel,
                 {},
                 p)
          .flatten(2)
          .transpose(1, 2);
  if (w.contains("stem.bias")) x = x + w.at("stem.bias");
  x = at::cat({w.at("class_token").expand({samples, 1, c.width}), x}, 1) +
      w.at("positions");
  if (c.norm_pre) x = norm(x, w, "norm_pre", c.norm_epsilon);
  for (std::int64_t l = 0; l < c.depth; ++l) {
    const std::string block = fmt::format("blocks.{}.", l);
    x = x + attention(norm(x, w, block + "norm1", c.norm_epsilon),
                      w,
                      block + "attn.",
                      c.heads);
    x = x +
        mlp(norm(x, w, block + "norm2", c.norm_epsilon), w, block + "mlp.", c);
  }
  const Tensor h = norm(x, w, "norm", c.norm_epsilon).select(1, 0);
  if (c.head != HeadKind::mixture)
    return affine(h, w.at("head.weight"), w, "head.bias");
  const Tensor a = at::matmul(h, w.at("head.gate.0")).softmax(-1);
  return experts(h, a, w, "head.layer1.");
}

TEST(Vit, IsItsFormulaAndSoAreItsGradients) {
  auto mixture = small_vit("cp"), head = small_clip();
  head.set_head("cp");
  head.mlp.ranks = {5};
  for (ModelConfig* c : {&mixture, &head}) {
    c->mlp.gate = {.activation = GateActivation::softmax,
                   .norm = GateNorm::none};
  }
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const ModelConfig& config : {small_vit(), small_clip(), mixture, head}) {
    VitOnMesh on(config, *self);
    SCOPED_TRACE(on.model.describe());
    Weights weights;
    for (const auto& [name, value] :
         on.tensors(&dist::Bucket::master).tensors) {
      weights[name] = value.detach().clone().set_requires_grad(true);
    }
    const Batch batch = made_up_batch(config, 5);
    const Tensor logits = formula(config, weights, batch.input);
    EXPECT_LT(testing::relative_error(on.model.logits(batch.input), logits),
              1e-12);
    const Tensor loss = at::cross_entropy_loss(logits, batch.target.flatten());
    EXPECT_NEAR(on.loss(batch) / loss.item<double>(), 1, 1e-12);
    loss.backward();
    const NamedTensors found = on.tensors(&dist::Bucket::grad);
    ASSERT_EQ(found.tensors.size(), weights.size());
    for (const auto& [name, weight] : weights) {
      // Key biases have none: softmax takes them out.
      EXPECT_LT((found.at(name) - weight.grad()).norm().item<double>(),
                1e-11 * std::max(1e-3, weight.grad().norm().item<double>()))
          << name;
    }
  }
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
