// The symmetric saddle that levels after the first start in, with the authors'
// initialisation: equal rows receive equal gradients and the gate none, so that
// no step parts them. Noise does.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/mumoe/block_fixture.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::numbers;
using testing::TestBlock;
using Tensors = std::vector<Tensor>;

constexpr std::int64_t kTokens = 24;
constexpr int kSteps = 6;

/// One of two ways to descend; AdamW as in the paper's recipes, all of whose
/// steps are elementwise.
class Optimizer {
 public:
  Optimizer(const TestBlock& block, bool adam) : block_(block), adam_(adam) {
    for (const auto& p : block.parameters()) {
      first_.push_back(at::zeros_like(p.value));
      second_.push_back(at::zeros_like(p.value));
    }
  }

  void step() {
    const at::NoGradGuard no_grad;
    ++steps_;
    for (std::size_t i = 0; i < first_.size(); ++i) {
      const Tensor& value = block_.parameters()[i].value;
      const Tensor grad = value.grad();
      if (!adam_) {
        value.sub_(grad, 0.05);
      } else {
        first_[i].mul_(0.9).add_(grad, 0.1);
        second_[i].mul_(0.95).addcmul_(grad, grad, 0.05);
        const Tensor m = first_[i] / (1 - std::pow(0.9, steps_));
        const Tensor v = second_[i] / (1 - std::pow(0.95, steps_));
        value.mul_(1 - 0.01 * 0.1);
        value.sub_(m / (v.sqrt() + 1e-8), 0.01);
      }
      value.mutable_grad() = Tensor();
    }
  }

 private:
  const TestBlock& block_;
  bool adam_;
  int steps_ = 0;
  Tensors first_, second_;
};

constexpr const char* kSecondLevel[] = {"layer1.expert.1", "layer2.expert.1"};

struct Outcome {
  double parted = 0;      ///< how far rows of level 2 have come apart
  double gate = 0;        ///< largest gradient of gate.1 over all steps
  double first_gate = 0;  ///< of gate.0
  double moved = 0;       ///< how far level 2 has come
};

double largest(const Tensor& t) {
  return t.abs().max().item<double>();
}

Outcome train(const BlockConfig& c, bool adam) {
  TestBlock block(c);
  Optimizer optimizer(block, adam);
  Tensors before;
  for (const char* name : kSecondLevel) {
    before.push_back(block.value(name).detach().clone());
  }
  Outcome result;
  for (int step = 0; step < kSteps; ++step) {
    // Random data: inputs and what their outputs should be.
    const Tensor x = numbers({kTokens, c.input_dim}, 10 + step);
    const Tensor target = numbers({kTokens, c.output_dim}, 90 + step);
    (block->forward(x) - target).pow(2).mean().backward();
    result.gate = std::max(result.gate, largest(block.value("gate.1").grad()));
    result.first_gate =
        std::max(result.first_gate, largest(block.value("gate.0").grad()));
    optimizer.step();
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Tensor change = block.value(kSecondLevel[i]).detach() - before[i];
    result.moved = std::max(result.moved, largest(change));
    result.parted =
        std::max(result.parted, largest(change - change.narrow(0, 0, 1)));
  }
  return result;
}

BlockConfig config(Form form, std::int64_t second, GateNorm norm) {
  BlockConfig c = testing::small_block(form, {5, second});
  c.gate.norm = norm;
  return c;
}

class BlockSaddle : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Optimizers,
                         BlockSaddle,
                         ::testing::Bool(),
                         [](const auto& adam) {
                           return adam.param ? "AdamW" : "Sgd";
                         });

TEST_P(BlockSaddle, HoldsTheSecondLevelWithoutNoise) {
  for (const Form form : {Form::cp, Form::tensor_ring}) {
    for (const std::int64_t second : {2, 4, 8}) {
      for (const auto norm : {GateNorm::layer, GateNorm::batch}) {
        SCOPED_TRACE(fmt::format("{}, {} experts", to_string(form), second));
        const Outcome found = train(config(form, second, norm), GetParam());
        // AdamW turns a rounded zero of 1e-17 into a step of 1e-11.
        EXPECT_LT(found.parted, GetParam() ? 1e-9 : 1e-12);
        EXPECT_LT(found.gate, 1e-12);
        EXPECT_GT(found.first_gate, 1e-4) << "the first level is free";
        EXPECT_GT(found.moved, 1e-4) << "its rows move, but together";
      }
    }
  }
}

TEST_P(BlockSaddle, IsLeftWithNoise) {
  for (const Form form : {Form::cp, Form::tensor_ring}) {
    for (const std::int64_t second : {2, 4, 8}) {
      for (const auto norm : {GateNorm::layer, GateNorm::batch}) {
        SCOPED_TRACE(fmt::format("{}, {} experts", to_string(form), second));
        BlockConfig c = config(form, second, norm);
        c.level_noise = 0.5;
        const Outcome found = train(c, GetParam());
        EXPECT_GT(found.parted, 1e-4);
        EXPECT_GT(found.gate, 1e-4);
      }
    }
  }
}

}  // namespace
}  // namespace mumoe
