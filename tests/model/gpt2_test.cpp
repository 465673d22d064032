#include "model/gpt2.h"
#include "model/gpt2_config.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>

#include "base/error.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/dense_mlp.h"
#include "run/nanogpt_weights.h"
#include "tests/support/parameters.h"

namespace mumoe::model {
namespace {

using run::from_nanogpt;
using run::to_nanogpt;

std::int64_t count(const ModelConfig& config) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kCPU);
  const Gpt2 gpt2(config, registry);
  return registry.global_numel();
}

ModelConfig small() {
  ModelConfig config;
  config.depth = 2;
  config.heads = 2;
  config.width = 8;
  config.context = 6;
  config.vocab = 11;
  config.mlp.hidden_dim = 16;
  config.mlp.experts = {5};
  config.mlp.ranks = {3};
  return config;
}

// The published configurations, position embeddings included; nanoGPT's print
// leaves those out.
TEST(Gpt2, CountsOfThe124MModels) {
  ModelConfig config;
  const std::int64_t positions = 1024 * 768;
  EXPECT_EQ(count(config), 124'789'536);
  EXPECT_EQ(count(config) - positions, 124'003'104);
  config.mlp.experts = {64};
  config.mlp.ranks = {599};
  EXPECT_EQ(count(config) - positions, 123'701'544);
  config.set_mlp("dense");
  EXPECT_EQ(count(config), 124'373'760);
  EXPECT_EQ(count(config) - positions, 123'587'328);
}

TEST(Gpt2, EveryTensorOfThe124MModelIsCounted) {
  const ModelConfig config;
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
  ModelConfig config = small();
  config.width = 64;
  config.mlp.hidden_dim = 256;
  config.mlp.experts = {32, 4};
  config.mlp.ranks = {50};
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

/// A model with weights of its own, and all of them under nanoGPT's names.
struct Exported {
  explicit Exported(const ModelConfig& config)
      : self(dist::make_self_communicator(at::kCPU)),
        registry(*self, at::kFloat, at::kCPU),
        gpt2(config, registry),
        buckets(registry, 1 << 10) {
    buckets.initialise(2);
    whole = testing::whole_tensors(buckets, &dist::Bucket::master);
    theirs = to_nanogpt(registry, whole);
  }
  std::unique_ptr<dist::Communicator> self;
  dist::ParameterRegistry registry;
  Gpt2 gpt2;
  dist::FlatBuckets buckets;
  NamedTensors whole;
  NamedTensors theirs;
};

TEST(NanogptWeights, SurviveTheirNamesAndLayouts) {
  const std::map<std::string, std::vector<std::int64_t>> ranks = {
      {"dense", {3}},
      {"cp", {3}},
      {"tr", {2, 3, 4, 6}},
      {"tt", {1, 2, 3, 4}}};
  for (const auto& [mlp, r] : ranks) {
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(fmt::format("mlp {}, bias {}", mlp, bias));
      ModelConfig config = small();
      config.set_mlp(mlp);
      config.bias = bias;
      config.mlp.expert_bias = bias;
      config.mlp.experts = {5, 2};
      config.mlp.ranks = r;
      const Exported model(config);
      const auto back = from_nanogpt(model.registry, model.theirs);
      ASSERT_EQ(back.tensors.size(), model.whole.tensors.size());
      for (const auto& [name, tensor] : model.whole.tensors) {
        EXPECT_TRUE(at::equal(back.at(name), tensor)) << name;
      }
      for (const auto& [name, tensor] : model.theirs.tensors) {
        EXPECT_TRUE(tensor.is_contiguous()) << name;
      }
      NamedTensors broken = model.theirs;
      broken.tensors["transformer.wte.weight"] = at::zeros({2, 2});
      EXPECT_THROW(from_nanogpt(model.registry, broken), InputError);
      broken.tensors.erase("transformer.wte.weight");
      EXPECT_THROW(from_nanogpt(model.registry, broken), InputError);
      if (mlp == "dense") continue;
      for (const std::vector<std::int64_t>& shape :
           {std::vector<std::int64_t>{7}, {1, 1, 1}}) {
        broken = model.theirs;
        broken.tensors["transformer.h.1.mlp.MuMoE_layer.MuMoE2.factors.2"] =
            at::zeros(shape);
        EXPECT_THROW(from_nanogpt(model.registry, broken), InputError);
      }
    }
  }
}

// The published chain of cores: [r_1, N, r_2], [r_2, I + 1, r_3], [r_3, O,
// r_1].
TEST(NanogptWeights, ARingsFactorsAreAChain) {
  ModelConfig config = small();
  config.set_mlp("tr");
  config.mlp.ranks = {2, 3, 4};
  const Exported model(config);
  const auto theirs = [&](int k) {
    return model.theirs.at(
        fmt::format("transformer.h.1.mlp.MuMoE_layer.MuMoE2.factors.{}", k));
  };
  const auto ours = [&](const std::string& name) {
    return model.whole.at("h.1.mlp.layer2." + name);
  };
  EXPECT_EQ(theirs(0).sizes(), (at::IntArrayRef{2, 5, 3}));
  EXPECT_EQ(theirs(1).sizes(), (at::IntArrayRef{3, 17, 4}));
  EXPECT_EQ(theirs(2).sizes(), (at::IntArrayRef{4, 8, 2}));
  EXPECT_TRUE(at::equal(theirs(0).select(1, 4), ours("expert.0")[4]));
  EXPECT_TRUE(at::equal(theirs(1).select(1, 9), ours("input")[9]));
  EXPECT_TRUE(at::equal(theirs(1).select(1, 16), ours("input_bias")));
  EXPECT_TRUE(at::equal(theirs(2).select(1, 7), ours("output")[7].t()));
}

TEST(NanogptWeights, TuckerHasNoNamesThere) {
  ModelConfig config = small();
  config.set_mlp("tucker");
  config.mlp.ranks = {2, 3, 4};
  EXPECT_THROW(Exported{config}, InputError);
}

TEST(Gpt2, BadShapesAreRefusedByMember) {
  const auto expect_refused = [](auto change, const std::string& key) {
    ModelConfig config = small();
    change(config);
    try {
      validate_gpt2(config);
      FAIL() << key;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos);
    }
  };
  expect_refused([](auto& c) { c.heads = 3; }, "heads = 3");
  expect_refused([](auto& c) { c.depth = 0; }, "depth = 0");
  expect_refused([](auto& c) { c.mlp.ranks = {0}; }, "mlp.ranks = 0");
  expect_refused([](auto& c) { c.mlp.experts = {4, 0}; }, "mlp.experts = ");
  expect_refused([](auto& c) { c.mlp.experts = {}; }, "mlp.experts = ");
  expect_refused([](auto& c) { c.gelu = Gelu::tanh; }, "gelu = tanh");
}

TEST(DenseMlp, HasTheGeluThatIsAskedFor) {
  const at::Tensor z = 100 * at::randn({40, 8}, at::kDouble);
  for (const Gelu gelu : {Gelu::exact, Gelu::tanh}) {
    const auto self = dist::make_self_communicator(at::kCPU);
    dist::ParameterRegistry registry(*self, at::kDouble, at::kCPU);
    auto kind = DenseMlpKind::gpt2(1);
    kind.norm = false;
    kind.gelu = gelu;
    const DenseMlp mlp(8, 16, kind, /*bias=*/false, "", registry);
    dist::FlatBuckets buckets(registry, 1 << 12);
    buckets.initialise(1);
    const at::Tensor pre = at::linear(z, registry.parameters()[0].value);
    const at::Tensor h =
        gelu == Gelu::exact
            ? pre * 0.5 * (1 + at::erf(pre / std::sqrt(2.0)))
            : pre * 0.5 *
                  (1 + at::tanh(std::sqrt(2 / M_PI) *
                                (pre + 0.044715 * pre * pre * pre)));
    EXPECT_LT(
        testing::relative_error(mlp.forward_normed(z),
                                at::linear(h, registry.parameters()[1].value)),
        1e-14);
  }
}

}  // namespace
}  // namespace mumoe::model
