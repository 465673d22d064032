// What a block starts from, and what it costs.
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/mumoe/block_fixture.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::TestBlock;

BlockConfig large_block(Form form, std::vector<std::int64_t> ranks) {
  BlockConfig c = testing::small_block(form, {64, 16});
  c.input_dim = 150;
  c.hidden_dim = 220;
  c.output_dim = 130;
  c.ranks = std::move(ranks);
  return c;
}

/// Mean and variance within five of their standard errors.
void expect_moments(const Tensor& values, double mean, double variance) {
  const auto count = static_cast<double>(values.numel());
  EXPECT_NEAR(values.mean().item<double>(),
              mean,
              5 * std::sqrt(variance / count));
  // A normal distribution's is the larger: √(2/n) σ².
  EXPECT_NEAR(values.var().item<double>(),
              variance,
              5 * std::sqrt(2 / count) * variance);
}

void expect_uniform(const Tensor& values, double bound) {
  expect_moments(values, 0, bound * bound / 3);
  EXPECT_LE(values.abs().max().item<double>(), bound);
  EXPECT_GT(values.max().item<double>(),
            bound * (1 - 20.0 / static_cast<double>(values.numel())));
  EXPECT_LT(values.min().item<double>(),
            -bound * (1 - 20.0 / static_cast<double>(values.numel())));
}

void expect_gate_and_norm(const TestBlock& block) {
  for (const char* name : {"gate.0", "gate.1", "input_ln.bias"}) {
    EXPECT_TRUE((block.value(name) == 0).all().item<bool>()) << name;
  }
  EXPECT_TRUE((block.value("input_ln.weight") == 1).all().item<bool>());
}

TEST(BlockInit, Cp) {
  TestBlock block(large_block(Form::cp, {90}));
  expect_gate_and_norm(block);
  for (const auto& [layer, inputs] :
       {std::pair{"layer1.", 150}, std::pair{"layer2.", 220}}) {
    SCOPED_TRACE(layer);
    const auto value = [&](const char* name) {
      return block.value(std::string(layer) + name);
    };
    expect_moments(value("expert.0"), 1, 1);
    EXPECT_TRUE((value("expert.1") == 1).all().item<bool>());
    expect_uniform(value("input"), std::sqrt(1.0 / inputs));
    expect_uniform(value("input_bias"), std::sqrt(1.0 / inputs));
    expect_uniform(value("output"), std::sqrt(1.0 / 90));
  }
}

TEST(BlockInit, Rings) {
  for (const std::int64_t r1 : {1, 4}) {
    TestBlock block(
        large_block(r1 == 1 ? Form::tensor_train : Form::tensor_ring,
                    {r1, 3, 5, 23}));
    expect_gate_and_norm(block);
    for (const auto& [layer, inputs] :
         {std::pair{"layer1.", 150}, std::pair{"layer2.", 220}}) {
      SCOPED_TRACE(layer);
      const auto value = [&](const char* name) {
        return block.value(std::string(layer) + name);
      };
      const Tensor first = value("expert.0");  // [64, r1, 3]
      const Tensor unit = at::eye(r1, 3, first.options());
      EXPECT_TRUE((first * (1 - unit) == 0).all().item<bool>());
      expect_moments(first.masked_select(unit.expand_as(first) != 0), 1, 1);
      const Tensor second = value("expert.1");  // [16, 3, 5]
      EXPECT_TRUE(
          at::equal(second,
                    at::eye(3, 5, second.options()).expand({16, 3, 5})));
      expect_uniform(value("input"), std::sqrt(1.0 / inputs));
      expect_uniform(value("input_bias"), std::sqrt(1.0 / inputs));
      expect_uniform(value("output"),
                     std::sqrt(1.0 / static_cast<double>(23 * r1)));
    }
  }
}

TEST(BlockInit, Tucker) {
  TestBlock block(large_block(Form::tucker, {12, 6, 20, 25}));
  expect_gate_and_norm(block);
  for (const auto& [layer, inputs] :
       {std::pair{"layer1.", 150}, std::pair{"layer2.", 220}}) {
    SCOPED_TRACE(layer);
    const auto value = [&](const char* name) {
      return block.value(std::string(layer) + name);
    };
    expect_moments(value("expert.0"), 1, 1);
    EXPECT_TRUE((value("expert.1") == 1).all().item<bool>());
    expect_uniform(value("input"), std::sqrt(1.0 / inputs));
    expect_uniform(value("output"), std::sqrt(1.0 / 25));
    expect_moments(value("core"), 0, 1.0 / (12 * 6 * 20 * 25));
    EXPECT_NEAR(value("core").norm().item<double>(), 1, 0.02);
  }
}

TEST(BlockInit, NoiseOfFurtherLevels) {
  for (const auto& [form, ranks] :
       {std::pair{Form::cp, std::vector<std::int64_t>{90}},
        std::pair{Form::tensor_ring, std::vector<std::int64_t>{4, 8, 8, 9}}}) {
    BlockConfig c = large_block(form, ranks);
    c.level_noise = 0.25;
    TestBlock block(c);
    Tensor second = block.value("layer1.expert.1");
    if (form == Form::tensor_ring) {
      second = second.masked_select(
          at::eye(8, 8, second.options()).expand_as(second) != 0);
    }
    expect_moments(second, 1, 0.0625);
    // The first level and everything else are as without.
    TestBlock without(large_block(form, ranks));
    for (const auto& p : block.parameters()) {
      EXPECT_EQ(at::equal(p.value, without.value(p.name)),
                !p.name.ends_with("expert.1"))
          << p.name;
    }
  }
  BlockConfig c = large_block(Form::cp, {90});
  c.level_noise = -0.1;
  EXPECT_THROW(c.validate(), InputError);
}

// With a gate of zeros all experts share evenly, whatever the norm.
TEST(BlockInit, EveryTokenMixesAllExpertsEvenly) {
  for (const auto norm : {GateNorm::layer, GateNorm::batch, GateNorm::none}) {
    for (const auto activation :
         {GateActivation::entmax15, GateActivation::softmax}) {
      BlockConfig c = large_block(Form::cp, {9});
      c.gate = {.activation = activation, .norm = norm};
      TestBlock block(c);
      const Tensor x = testing::input_leaf(10, c.input_dim);
      std::vector<Tensor> a;
      block->forward(x, a);
      for (const auto& level : {a, block->coefficients(x)}) {
        EXPECT_LT((level[0] - 1.0 / 64).abs().max().item<double>(), 1e-15);
        EXPECT_LT((level[1] - 1.0 / 16).abs().max().item<double>(), 1e-15);
      }
    }
  }
}

// ⅑(1 + 1/N) per unit of variance of the input, for one level (layer by layer;
// nn.Linear has ⅓).
TEST(BlockInit, VarianceOfTheOutput) {
  BlockConfig c = testing::small_block(Form::cp, {8});
  c.input_dim = 400;
  c.hidden_dim = 300;
  c.output_dim = 0;
  c.ranks = {500};
  c.expert_bias = false;
  c.input_layer_norm = false;
  TestBlock block(c);
  const Tensor y = block->forward(testing::numbers({200, 400}, 1));
  EXPECT_NEAR(y.var().item<double>(), (1 + 1.0 / 8) / 9, 0.01);
}

TEST(BlockCost, IsThatOfThePaper) {
  for (const Form form : testing::kForms) {
    for (const auto& experts : testing::expert_counts()) {
      for (const std::int64_t output : {0, 7}) {
        for (const bool with : {false, true}) {
          BlockConfig c = testing::small_block(form, experts);
          c.output_dim = output;
          c.expert_bias = c.input_layer_norm = with;
          const TestBlock block(c);
          EXPECT_EQ(MuMoEBlock::parameter_count(c), block.parameter_count());
          const std::int64_t norm = with ? 2 * c.input_dim : 0;
          const std::int64_t layers = output == 0 ? 1 : 2;
          // What is multiplied beside the parameters.
          const auto& r = c.ranks;
          std::int64_t more = 0;
          if (form == Form::tensor_ring || form == Form::tensor_train) {
            for (std::size_t k = 1; k < r.size() - 1; ++k) {
              more += r[0] * r[k] * r[k + 1];
            }
          } else if (form == Form::tucker) {
            more =
                experts.size() == 1 ? r[0] * r[2] : (r[0] * r[1] + r[0]) * r[3];
          }
          EXPECT_EQ(MuMoEBlock::macs_per_token(c),
                    MuMoEBlock::parameter_count(c) - norm + layers * more)
              << to_string(form);
        }
      }
    }
  }
  // GPT-2 with 256 experts, layer.md's numbers by hand: C·N + R(2N + C + 1 + H
  // + H + 1 + C).
  BlockConfig gpt2 = testing::small_block(Form::cp, {256});
  gpt2.input_dim = gpt2.output_dim = 768;
  gpt2.hidden_dim = 3072;
  gpt2.ranks = {556};
  EXPECT_EQ(MuMoEBlock::macs_per_token(gpt2),
            768 * 256 + 556 * (2 * 256 + 2 * 768 + 2 * 3072 + 2));
}

}  // namespace
}  // namespace mumoe
