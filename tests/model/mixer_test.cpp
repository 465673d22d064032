// The Mixer: sizes as published, the same at every layout, what is random in
// it, and its scores.
#include "model/mixer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/self_communicator.h"
#include "model/mixer_config.h"
#include "model/sample_uniforms.h"
#include "tests/support/errors.h"
#include "tests/support/small_mixer.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::model {
namespace {

using testing::made_up_batch;
using testing::MixerOnMesh;
using testing::small_mixer;

/// S/16 for images of 224 x 224 and 1000 classes.
ModelConfig s16(const std::string& mlp) {
  ModelConfig c;
  c.depth = 8;
  c.width = 512;
  c.token_hidden = 256;
  c.mlp.hidden_dim = 2048;
  c.bias = true;
  c.mlp.gate.norm = GateNorm::batch;
  c.mlp.experts = {64};
  c.set_mlp(mlp);
  c.token_ranks = {147};
  c.mlp.ranks = {384};
  if (mlp == "tr") {
    c.token_ranks = {4, 4, 37};
    c.mlp.ranks = {4, 4, 97};
  }
  return c;
}

TEST(Mixer, HasAsManyParametersAndProductsAsPublished) {
  const auto self = dist::make_self_communicator(at::kCPU);
  struct Published {
    const char* mlp;
    std::int64_t parameters;
    double giga_macs;
  };
  for (const auto& [mlp, parameters, giga_macs] :
       {Published{"dense", 18'528'264, 3.777},
        Published{"cp", 18'630'616, 3.964},
        Published{"tr", 18'290'792, 3.867}}) {
    SCOPED_TRACE(mlp);
    dist::ParameterRegistry registry(*self, at::kFloat, at::kMeta);
    const Mixer mixer(s16(mlp), registry);
    EXPECT_EQ(registry.global_numel(), parameters);
    // Images have no gradient: of the stem two thirds.
    const double stem = 2 * 196.0 * 768 * 512;
    EXPECT_NEAR((mixer.cost(1, at::kCPU).flops + stem) / 6e9,
                giga_macs,
                5.1e-4);
    EXPECT_EQ(mixer.mixtures().size(), mlp == std::string("dense") ? 0u : 16u);
  }
}

/// What one step leaves: of all ranks, whole.
struct Step {
  double loss = 0;
  NamedTensors gradients;
  NamedTensors weights;  ///< And running statistics.
};

Step step(MixerOnMesh& on, const Batch& batch) {
  Step step;
  step.loss = on.loss(batch);
  step.gradients = on.tensors(&dist::Bucket::grad);
  step.weights = on.tensors(&dist::Bucket::master);
  return step;
}

/// Relative to each tensor, or to all together where it is zero but for
/// rounding: a bias that mixed tokens get, the same for all channels, which the
/// norms take out again.
void expect_same(const NamedTensors& found, const NamedTensors& expected) {
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
  MixerOnMesh on(config, *self);
  return step(on, batch);
}

/// Classes, or shares of them, some samples without some sublayers.
ModelConfig with_all_that_is_random(ModelConfig config) {
  config.stochastic_depth = 0.6;
  config.label_smoothing = 0.1;
  return config;
}

TEST(Mixer, IsTheSameOnAnyNumberOfDataParallelRanks) {
  for (const auto& [name, small] : testing::mixer_cases()) {
    const ModelConfig config = with_all_that_is_random(small);
    const Batch batch = made_up_batch(config, 7);  // divides by none
    const Step expected = alone(config, batch);
    const bool few = name != "cp" && name != "tr";
    for (const int ranks : few ? std::vector{3} : std::vector{2, 3, 4}) {
      SCOPED_TRACE(fmt::format("{}, dp {}", name, ranks));
      dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
        MixerOnMesh on(config, world);
        expect_same(step(on, batch), expected);
      });
    }
  }
}

TEST(Mixer, IsTheSameCutByEveryPlan) {
  for (const auto& [name, small] : testing::mixer_cases()) {
    const ModelConfig config = with_all_that_is_random(small);
    const Batch batch = made_up_batch(config, 8);
    const Step expected = alone(config, batch);
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      if (config.dense && plan == Plan::rank) continue;
      for (const auto& [ranks, tp] :
           {std::pair{2, 2}, std::pair{4, 2}, std::pair{4, 4}}) {
        if (ranks == 4 && name != "cp" && name != "dense") continue;
        SCOPED_TRACE(fmt::format("{}, {}, {} x {}",
                                 name,
                                 to_string(plan),
                                 ranks / tp,
                                 tp));
        dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
          MixerOnMesh on(config, world, tp, plan);
          expect_same(step(on, batch), expected);
        });
      }
    }
  }
}

TEST(Mixer, ScoresByRunningStatisticsAndLeavesThem) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ModelConfig config = small_mixer("cp");
  MixerOnMesh on(config, *self);
  const Batch batch = made_up_batch(config, 6);
  step(on, batch);  // statistics of their own
  const auto before = on.tensors(&dist::Bucket::master);
  const at::Tensor logits = on.mixer.logits(batch.input);
  EXPECT_FALSE(logits.requires_grad());
  const Score score = on.mixer.score(batch);
  double loss = 0;
  std::int64_t top1 = 0, top5 = 0;
  for (std::int64_t b = 0; b < 6; ++b) {
    const std::int64_t right = batch.target[b].item<std::int64_t>();
    loss -= logits[b].log_softmax(0)[right].item<double>();
    const auto order = logits[b].argsort(/*dim=*/0, /*descending=*/true);
    for (int place = 0; place < 5; ++place) {
      const bool here = order[place].item<std::int64_t>() == right;
      top1 += here && place == 0;
      top5 += here;
    }
  }
  EXPECT_NEAR(score.loss / loss, 1, 1e-12);
  EXPECT_EQ(score.top1, top1);
  EXPECT_EQ(score.top5, top5);
  // Each image is scored by itself.
  EXPECT_LT(
      testing::relative_error(on.mixer.logits(batch.input.narrow(0, 2, 1)),
                              logits.narrow(0, 2, 1)),
      1e-12);
  for (const auto& [name, tensor] : before.tensors) {
    EXPECT_TRUE(tensor.equal(on.tensors(&dist::Bucket::master).at(name)))
        << name;
  }
  // And training goes on with those of the batch.
  step(on, batch);
  EXPECT_FALSE(before.at("h.0.token.gate_norm.0.running_mean")
                   .equal(on.tensors(&dist::Bucket::master)
                              .at("h.0.token.gate_norm.0.running_mean")));
}

TEST(Mixer, ScoresAnyNumberOfImagesWhereSamplesAreCut) {
  const ModelConfig config = testing::mixer_cases()[3].config;
  const Batch batch = made_up_batch(config, 5);
  const auto self = dist::make_self_communicator(at::kCPU);
  MixerOnMesh one(config, *self);
  const Score expected = one.mixer.score(batch);
  const at::Tensor logits = one.mixer.logits(batch.input);
  dist::ThreadWorld::run(4, [&](dist::Communicator& world) {
    MixerOnMesh on(config, world, 4, Plan::sequence);
    const Score score = on.mixer.score(batch);
    EXPECT_NEAR(score.loss / expected.loss, 1, 1e-12);
    EXPECT_EQ(score.top1, expected.top1);
    EXPECT_EQ(score.top5, expected.top5);
    EXPECT_LT(testing::relative_error(on.mixer.logits(batch.input), logits),
              1e-12);
    EXPECT_THROW(on.mixer.loss(batch, 1), InputError);
  });
}

TEST(Mixer, CountsTiesByTheOrderOfClasses) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ModelConfig config = small_mixer("dense");
  MixerOnMesh on(config, *self);
  auto weights = on.tensors(&dist::Bucket::master);
  for (const char* name : {"head.weight", "head.bias"}) {
    weights.tensors[name] = at::zeros_like(weights.at(name));
  }
  testing::set_weights(on.buckets, weights);
  Batch batch = made_up_batch(config, 7);
  batch.target = at::arange(7, at::kLong).unsqueeze(1);
  EXPECT_EQ(on.mixer.score(batch).top1, 1);
  EXPECT_EQ(on.mixer.score(batch).top5, 5);
  EXPECT_NEAR(on.mixer.score(batch).loss, 7 * std::log(7.0), 1e-12);
}

TEST(Mixer, TakesSharesOfClassesAndSmoothsThem) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ModelConfig config = small_mixer("dense");
  Batch batch = made_up_batch(config, 5);
  batch.ids = at::Tensor();
  MixerOnMesh on(config, *self);
  const at::Tensor logs =
      on.mixer.logits(batch.input).log_softmax(1);  // no batch norm
  const at::Tensor hard =
      at::zeros({5, 7}, at::kDouble).scatter(1, batch.target, 1.0);
  const at::Tensor soft = 0.7 * hard + 0.3 * hard.roll(1, 0);
  const auto loss_of = [&](const at::Tensor& target) {
    return on.mixer.loss({batch.input, target, {}}, 0.5).item<double>();
  };
  const auto expected = [&](const at::Tensor& shares) {
    return -0.5 * (shares * logs).sum().item<double>();
  };
  EXPECT_NEAR(loss_of(batch.target), expected(hard), 1e-12);
  EXPECT_NEAR(loss_of(hard.to(at::kFloat)), expected(hard), 1e-12);
  EXPECT_NEAR(loss_of(soft), expected(soft), 1e-12);
  EXPECT_EQ(on.mixer.score({batch.input, soft, {}}).top1,
            on.mixer.score(batch).top1);
  config.label_smoothing = 0.2;
  MixerOnMesh smooth(config, *self);
  for (const at::Tensor& target : {batch.target, hard}) {
    EXPECT_NEAR(
        smooth.mixer.loss({batch.input, target, {}}, 0.5).item<double>(),
        expected(0.8 * hard + 0.2 / 7),
        1e-12);
  }
  EXPECT_NEAR(smooth.mixer.score(batch).loss, 2 * expected(hard), 1e-12);
}

TEST(Mixer, SkipsSublayersByTheNumbersOfTheSamples) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ModelConfig config = small_mixer("dense");
  config.depth = 3;
  config.stochastic_depth = 0.6;  // 0, 0.3, 0.6
  MixerOnMesh on(config, *self);
  const std::int64_t count = 400;
  Batch batch = made_up_batch(config, 1);
  batch.input = batch.input.expand({count, -1}).contiguous();
  batch.target = batch.target.expand({count, 1}).contiguous();
  batch.ids = at::arange(count, at::kLong);
  const auto losses = [&](const Batch& many) {
    std::vector<double> each;
    for (std::int64_t b = 0; b < many.input.size(0); ++b) {
      each.push_back(
          on.mixer.loss(testing::rows_of(many, b, 1), 1).item<double>());
    }
    return each;
  };
  const auto first = losses(batch);
  EXPECT_EQ(first[9], losses(testing::rows_of(batch, 9, 1))[0]);
  // Of one image 16 losses at most: the sublayers of the first block stay.
  EXPECT_EQ(std::set<double>(first.begin(), first.end()).size(), 16u);
  // The same of a batch as one by one; none skips without numbers.
  const double all = on.mixer.loss(batch, 1).item<double>();
  EXPECT_NEAR(all / std::accumulate(first.begin(), first.end(), 0.0), 1, 1e-12);
  batch.ids = at::Tensor();
  EXPECT_EQ(on.mixer.loss(testing::rows_of(batch, 0, 1), 1).item<double>(),
            on.mixer.score(testing::rows_of(batch, 0, 1)).loss);
}

TEST(SampleUniforms, AreTheNumbersOfTheCounter) {
  const std::uint64_t seed = 0xfedcba9876543210u;
  const std::vector<std::int64_t> ids = {0, 1, 77, std::int64_t{5} << 40};
  const at::Tensor uniform =
      sample_uniforms(seed, Purpose::test, 3, at::tensor(ids, at::kLong));
  ASSERT_EQ(uniform.sizes(), (at::IntArrayRef{3, 4}));
  for (std::int64_t s = 0; s < 3; ++s) {
    const CounterRandom random(seed, Purpose::test, s);
    for (std::size_t b = 0; b < ids.size(); ++b) {
      EXPECT_EQ(uniform[s][b].item<double>(), random.uniform(ids[b]));
    }
  }
}

TEST(Mixer, RefusesWhatDoesNotFitByName) {
  const auto refused = [](auto change,
                          std::initializer_list<std::string> parts) {
    ModelConfig config = small_mixer("cp");
    change(config);
    testing::expect_input_error([&] { validate_mixer(config); }, parts);
  };
  using C = ModelConfig;
  refused([](C& c) { c.patch = 4; },
          {"patch = 4", "image_size = 6", "but by 3"});
  refused([](C& c) { c.classes = 0; }, {"classes = 0", "at least 1"});
  refused([](C& c) { c.channels = -1; }, {"channels = -1"});
  refused([](C& c) { c.token_hidden = 1 << 25; }, {"token_hidden = 33554432"});
  refused([](C& c) { c.stochastic_depth = 1; },
          {"stochastic_depth = 1", "less than 1"});
  refused([](C& c) { c.label_smoothing = -0.1; }, {"label_smoothing = -0.1"});
  refused([](C& c) { c.token_ranks = {0}; }, {"token_ranks = 0"});
  refused([](C& c) { c.mlp.ranks = {2, 3}; }, {"mlp.ranks = 2,3"});
  refused([](C& c) { c.mlp.experts = {0}; }, {"mlp.experts = 0"});
  const ModelConfig config = small_mixer("cp");
  dist::ThreadWorld::run(2, [&](dist::Communicator& tp) {
    testing::expect_input_error(
        [&] {
          validate_mixer_sharding(config, {Plan::sequence, &tp}, 3);
        },
        {"micro_batch = 3", "plan = sequence", "tp = 2", "bottleneck"});
    EXPECT_NO_THROW(
        validate_mixer_sharding(config, {Plan::bottleneck, &tp}, 3));
  });
}

}  // namespace
}  // namespace mumoe::model
