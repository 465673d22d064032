#include "model/gpt2.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "dist/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/nanogpt_weights.h"
#include "tests/support/parameters.h"

namespace mumoe::model {
namespace {

std::int64_t count(const Gpt2Config& config) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const Gpt2 gpt2(config, registry);
  return registry.global_numel();
}

Gpt2Config small() {
  Gpt2Config config;
  config.depth = 2;
  config.heads = 2;
  config.width = 8;
  config.context = 6;
  config.vocab = 11;
  config.hidden = 16;
  config.experts = {5};
  config.ranks = {3};
  return config;
}

// The published configurations, position embeddings included; nanoGPT's print
// leaves those out.
TEST(Gpt2, CountsOfThe124MModels) {
  Gpt2Config config;
  const std::int64_t positions = 1024 * 768;
  EXPECT_EQ(count(config), 124'789'536);
  EXPECT_EQ(count(config) - positions, 124'003'104);
  config.experts = {64};
  config.ranks = {599};
  EXPECT_EQ(count(config) - positions, 123'701'544);
  config.mlp = MlpKind::dense;
  EXPECT_EQ(count(config), 124'373'760);
  EXPECT_EQ(count(config) - positions, 123'587'328);
}

TEST(Gpt2, EveryTensorOfThe124MModelIsCounted) {
  const Gpt2Config config;
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const Gpt2 gpt2(config, registry);
  // wte, wpe, ln_f; a block: ln_1, qkv, proj, gate, the norm's two, four
  // tensors of each layer.
  EXPECT_EQ(registry.parameters().size(), 3u + 12u * (1 + 2 + 1 + 2 + 2 * 4));
  const auto shape = [&](const std::string& name) {
    return registry.at(name).global_shape;
  };
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shape("wte"), (Shape{50304, 768}));
  EXPECT_EQ(shape("h.11.attn.qkv"), (Shape{3, 12, 64, 768}));
  EXPECT_EQ(shape("h.0.mlp.gate.0"), (Shape{768, 256}));
  EXPECT_EQ(shape("h.0.mlp.layer1.expert.0"), (Shape{256, 556}));
  EXPECT_EQ(shape("h.0.mlp.layer1.input"), (Shape{768, 556}));
  EXPECT_EQ(shape("h.0.mlp.layer1.input_bias"), (Shape{556}));
  EXPECT_EQ(shape("h.0.mlp.layer1.output"), (Shape{3072, 556}));
  EXPECT_EQ(shape("h.0.mlp.layer2.output"), (Shape{768, 556}));
  // A block uses each weight once, those of its norm aside.
  EXPECT_EQ(MuMoEBlock::parameter_count(config.block()), 4'754'008);
  EXPECT_EQ(MuMoEBlock::macs_per_token(config.block()), 4'752'472);
}

TEST(Gpt2, InitialStatistics) {
  Gpt2Config config = small();
  config.width = 64;
  config.hidden = 256;
  config.experts = {32, 4};
  config.ranks = {50};
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const Gpt2 gpt2(config, registry);
  dist::FlatBuckets buckets(registry, 1 << 20);
  buckets.initialise(1);
  const auto value = [&](const std::string& name) {
    return registry.at(name).value.detach();
  };
  const auto expect_moments =
      [&](const std::string& name, double mean, double deviation) {
        const at::Tensor v = value(name);
        const double n = static_cast<double>(v.numel());
        EXPECT_NEAR(v.mean().item<double>(), mean, 5 * deviation / std::sqrt(n))
            << name;
        EXPECT_NEAR(v.std().item<double>(),
                    deviation,
                    5 * deviation / std::sqrt(2 * n))
            << name;
      };
  expect_moments("wte", 0, 0.02);
  expect_moments("h.0.attn.qkv", 0, 0.02);
  expect_moments("h.0.attn.proj", 0, 0.01);  // 0.02 / √(2 · 2)
  EXPECT_EQ(value("h.0.mlp.gate.0").abs().max().item<double>(), 0);
  expect_moments("h.0.mlp.layer1.expert.0", 1, 1);
  EXPECT_TRUE(value("h.0.mlp.layer1.expert.1").eq(1).all().item<bool>());
  const double root3 = std::sqrt(3.0);
  expect_moments("h.0.mlp.layer1.input", 0, 1 / 8.0 / root3);
  expect_moments("h.0.mlp.layer1.output", 0, std::sqrt(1 / 50.0) / root3);
  expect_moments("h.0.mlp.layer2.input", 0, 1 / 16.0 / root3);
  EXPECT_LE(value("h.0.mlp.layer2.input_bias").abs().max().item<double>(),
            1 / 16.0);
  EXPECT_TRUE(value("ln_f.weight").eq(1).all().item<bool>());
}

TEST(Gpt2, WeightsSurviveNanogptNames) {
  for (const MlpKind mlp : {MlpKind::cp, MlpKind::dense}) {
    for (const bool bias : {false, true}) {
      Gpt2Config config = small();
      config.mlp = mlp;
      config.bias = bias;
      config.expert_bias = bias;
      config.experts = {5, 2};
      const auto self = dist::make_self_communicator(at::kCPU);
      dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
      const Gpt2 gpt2(config, registry);
      dist::FlatBuckets buckets(registry, 1 << 10);
      buckets.initialise(2);
      const auto whole = testing::whole_tensors(buckets, &dist::Bucket::master);
      const auto theirs = to_nanogpt(registry, whole);
      const auto back = from_nanogpt(registry, theirs);
      ASSERT_EQ(back.tensors.size(), whole.tensors.size());
      for (const auto& [name, tensor] : whole.tensors) {
        EXPECT_TRUE(at::equal(back.at(name), tensor)) << name;
      }
      NamedTensors broken = theirs;
      broken.tensors["transformer.wte.weight"] = at::zeros({2, 2});
      EXPECT_THROW(from_nanogpt(registry, broken), InputError);
      broken.tensors.erase("transformer.wte.weight");
      EXPECT_THROW(from_nanogpt(registry, broken), InputError);
    }
  }
}

TEST(Gpt2, BadShapesAreRefusedByKey) {
  const auto expect_refused = [](auto change, const std::string& key) {
    Gpt2Config config = small();
    change(config);
    try {
      config.validate();
      FAIL() << key;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos);
    }
  };
  expect_refused([](auto& c) { c.heads = 3; }, "model.heads");
  expect_refused([](auto& c) { c.depth = 0; }, "model.depth");
  expect_refused([](auto& c) { c.ranks = {0}; }, "model.rank");
  expect_refused([](auto& c) { c.experts = {4, 0}; }, "model.experts");
  expect_refused([](auto& c) { c.experts = {}; }, "model.experts");
}

}  // namespace
}  // namespace mumoe::model
