// The block as a module: moves, clones, edits, optimizers.
#include "mumoe/module.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>

#include <cmath>
#include <sstream>

#include "tests/mumoe/module_fixture.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::expect_input_error;
using testing::input;
using testing::kTokens;
using testing::numbers;
using testing::rich;
using testing::trained;

TEST(Module, HasTheNamesAndValuesOfABlock) {
  for (const Form form : testing::kForms) {
    const BlockConfig c = rich(form);
    MuMoE module(c, 3);
    testing::TestBlock block(c, at::kFloat);  // seed 3
    std::size_t found = 0;
    for (const auto& p : block.parameters()) {
      const auto parameters = module->named_parameters();
      const Tensor* value = parameters.find(p.name);
      ASSERT_NE(value, nullptr) << p.name;
      EXPECT_TRUE(at::equal(*value, p.value)) << p.name;
      EXPECT_TRUE(value->requires_grad());
      ++found;
    }
    EXPECT_EQ(module->parameters().size(), found);
    EXPECT_EQ(module->named_buffers().keys(),
              (std::vector<std::string>{"edits.0",
                                        "edits.1",
                                        "gate_norm.0.running_mean",
                                        "gate_norm.0.running_var",
                                        "gate_norm.1.running_mean",
                                        "gate_norm.1.running_var"}));
    EXPECT_TRUE(at::equal(module->forward(input(c)), block->forward(input(c))));
    EXPECT_FALSE(at::equal(MuMoE(c, 4)->parameters().back(),
                           module->parameters().back()));
  }
}

TEST(Module, HasTheRanksOfItsBudget) {
  BlockConfig c{.input_dim = 64,
                .hidden_dim = 256,
                .output_dim = 64,
                .experts = {16}};
  const std::int64_t dense = dense_mlp_parameters(64, 256, 64, true, true);
  const MuMoE matched(c);
  const std::int64_t count = MuMoEBlock::parameter_count(matched->config());
  EXPECT_LE(count, dense);
  EXPECT_GT(count, dense * 95 / 100);
  const MuMoE small(with_parameters(c, 10'000));
  std::int64_t held = 0;
  for (const Tensor& p : small->parameters()) held += p.numel();
  EXPECT_EQ(held, MuMoEBlock::parameter_count(small->config()));
  EXPECT_LE(held, 10'000);
  EXPECT_GT(held, 9'000);
  expect_input_error([&] { with_parameters(c, 100); }, {"100"});
  expect_input_error([&] { with_parameters(c, -1); }, {"-1 parameters"});
  expect_input_error([&] { MuMoE({.input_dim = 4}); }, {"experts"});
  c.ranks = {7};
  expect_input_error([&] { with_parameters(c, 10'000); }, {"ranks", "given"});
}

TEST(Module, AGradientOfAGradientIsRefused) {
  const MuMoE module(BlockConfig{.input_dim = 6,
                                 .hidden_dim = 9,
                                 .output_dim = 7,
                                 .experts = {8},
                                 .ranks = {5}});
  const Tensor x = numbers({kTokens, 6}, 1).to(at::kFloat).requires_grad_(true);
  const Tensor loss = module.ptr()->forward(x).square().sum();
  expect_input_error(
      [&] {
        torch::autograd::grad({loss},
                              {x},
                              {},
                              /*retain_graph=*/true,
                              /*create_graph=*/true);
      },
      {"differentiable once"});
}

TEST(Module, LearnsWithAnOptimizerOfLibTorch) {
  MuMoE module(with_parameters(
      {.input_dim = 6, .hidden_dim = 9, .output_dim = 7, .experts = {8}},
      600));
  const Tensor x = numbers({2, kTokens, 6}, 1).to(at::kFloat);
  const Tensor y = numbers({2, kTokens, 7}, 2).to(at::kFloat);
  torch::optim::Adam adam(module->parameters(),
                          torch::optim::AdamOptions(0.01));
  const auto loss = [&] { return at::mse_loss(module->forward(x), y); };
  const double before = loss().item<double>();
  for (int step = 0; step < 60; ++step) {
    adam.zero_grad();
    loss().backward();
    adam.step();
  }
  EXPECT_LT(loss().item<double>(), before / 2);
}

TEST(Module, TakesWhatForwardTakesForCoefficients) {
  MuMoE module = trained(rich());
  module->eval();
  const Tensor x = numbers({2, 3, kTokens, 6}, 1).to(at::kFloat);
  const auto a = module->coefficients(x);
  const auto flat = module->coefficients(x.view({-1, 6}));
  ASSERT_EQ(a.size(), 2u);
  for (std::size_t e = 0; e < 2; ++e) {
    const std::int64_t experts = module->config().experts[e];
    EXPECT_EQ(a[e].sizes(),
              (std::vector<std::int64_t>{2, 3, kTokens, experts}));
    EXPECT_TRUE(at::equal(a[e].view({-1, experts}), flat[e]));
  }
  EXPECT_EQ(module->forward(x).sizes(),
            (std::vector<std::int64_t>{2, 3, kTokens, 7}));
  EXPECT_EQ(module->coefficients(x[0][0][0])[0].sizes(),
            (std::vector<std::int64_t>{5}));
}

TEST(Module, MovesToADtypeWithAllItsState) {
  const BlockConfig c = rich();
  MuMoE module = trained(c);
  module->scale_expert(1, 2, 0.3);
  module->eval();
  const Tensor y = module->forward(input(c));
  module->to(at::kDouble);
  EXPECT_LT(testing::relative_error(module->forward(input(c, at::kDouble)), y),
            1e-6);
  EXPECT_EQ(module->forward(input(c)).scalar_type(), at::kDouble);
  module->to(at::kCPU, at::kBFloat16);
  for (const auto& p : module->named_parameters()) {
    const bool norm = p.key().starts_with("input_ln");
    EXPECT_EQ(p.value().scalar_type(), norm ? at::kFloat : at::kBFloat16)
        << p.key();
  }
  for (const Tensor& b : module->buffers()) {
    EXPECT_EQ(b.scalar_type(), at::kFloat);
  }
  for (const auto type : {at::kBFloat16, at::kFloat, at::kDouble}) {
    const Tensor narrow = module->forward(input(c, type));
    EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
    EXPECT_LT(testing::relative_error(narrow, y), 0.05);
  }
  // As a part of another module, too; gradients go along.
  torch::nn::Module parent;
  parent.register_module("moe", module);
  parent.to(at::kFloat);
  module->forward(input(c)).sum().backward();
  parent.to(at::kDouble);
  EXPECT_EQ(module->parameters()[0].grad().scalar_type(), at::kDouble);
  module->forward(input(c)).sum().backward();
  expect_input_error([&] { module->to(at::kHalf); }, {"Half", "fp32"});
  expect_input_error([&] { module->to(at::kLong); }, {"Long"});
}

/// A module of somebody else's.
struct NetImpl : torch::nn::Cloneable<NetImpl> {
  NetImpl() { reset(); }
  void reset() override {
    moe = register_module("moe", MuMoE(rich()));
    head = register_module("head", torch::nn::Linear(7, 2));
  }
  Tensor forward(const Tensor& x) { return head(moe(x)); }
  MuMoE moe = nullptr;
  torch::nn::Linear head = nullptr;
};

TEST(Module, ClonesAreApart) {
  const BlockConfig c = rich();
  MuMoE module = trained(c);
  module->remove_expert(0, 1);
  module->parameters()[0].requires_grad_(false);
  module->eval();
  const Tensor y = module->forward(input(c));
  const auto copy = std::dynamic_pointer_cast<MuMoEImpl>(module->clone());
  ASSERT_NE(copy, nullptr);
  EXPECT_FALSE(copy->is_training());
  EXPECT_FALSE(copy->parameters()[0].requires_grad());
  EXPECT_TRUE(at::equal(copy->forward(input(c)), y));
  {
    const at::NoGradGuard no_grad;
    for (Tensor& p : copy->parameters()) p.mul_(2);
  }
  copy->clear_edits();
  EXPECT_FALSE(at::equal(copy->forward(input(c)), y));
  EXPECT_TRUE(at::equal(module->forward(input(c)), y));

  NetImpl net;
  net.moe->scale_expert(0, 2, -1);
  net.eval();
  {
    const at::NoGradGuard no_grad;
    for (Tensor& p : net.parameters()) p.add_(0.1);
  }
  const Tensor z = net.forward(input(c));
  const auto twin = std::dynamic_pointer_cast<NetImpl>(net.clone());
  twin->eval();
  EXPECT_TRUE(at::equal(twin->forward(input(c)), z));
  {
    const at::NoGradGuard no_grad;
    for (Tensor& p : twin->moe->parameters()) p.mul_(2);
  }
  EXPECT_FALSE(at::equal(twin->forward(input(c)), z));
  EXPECT_TRUE(at::equal(net.forward(input(c)), z));
}

TEST(Module, IsOneOfASequence) {
  torch::nn::Sequential net(MuMoE(rich()),
                            torch::nn::Linear(7, 6),
                            MuMoE(rich()));
  const Tensor y = net->forward(input(rich()));
  EXPECT_EQ(y.sizes(), (std::vector<std::int64_t>{kTokens, 7}));
  y.sum().backward();
  for (const auto& p : net->named_parameters()) {
    EXPECT_TRUE(p.value().grad().defined()) << p.key();
  }
  net->eval();
  const auto twin =
      std::dynamic_pointer_cast<torch::nn::SequentialImpl>(net->clone());
  EXPECT_TRUE(
      at::equal(twin->forward(input(rich())), net->forward(input(rich()))));
  std::ostringstream text;
  net->at<MuMoEImpl>(0).pretty_print(text);
  EXPECT_EQ(text.str(),
            "MuMoE(6 -> 9 -> 7, 5 x 4 experts, tr of rank 2, 2, 3, 4, "
            "entmax15, batch norm, 486 parameters)");
}

TEST(Module, TrainAndEvalAreOfTheGatesNorm) {
  const BlockConfig c = rich();
  MuMoE module = trained(c);
  torch::nn::Module parent;
  parent.register_module("moe", module);
  const auto mean = [&] {
    return module->named_buffers()["gate_norm.0.running_mean"].clone();
  };
  const Tensor before = mean();
  parent.eval();
  module->forward(input(c));
  EXPECT_TRUE(at::equal(mean(), before));
  parent.train();
  module->forward(input(c));
  EXPECT_FALSE(at::equal(mean(), before));
}

TEST(Module, EditsOfExpertsThatThereAreNotAreRefused) {
  MuMoE module(rich());
  expect_input_error([&] { module->remove_expert(0, 5); },
                     {"expert 5 of level 0: expected 0 to 4"});
  expect_input_error([&] { module->scale_expert(2, 0, 1); },
                     {"level 2: expected 0 to 1"});
  expect_input_error([&] { module->scale_expert(0, 0, std::nan("")); },
                     {"factor nan"});
  expect_input_error(
      [&] {
        module->expert(2, {0, 0});
      },
      {"layer 2: expected 0 to 1"});
  expect_input_error(
      [&] {
        module->expert(0, {0, 4});
      },
      {"expert 4 of level 1: expected 0 to 3"});
}

}  // namespace
}  // namespace mumoe
