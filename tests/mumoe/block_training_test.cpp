// Gradients of whole blocks against finite differences, what does not change
// them, and the symmetric saddle that further levels start in.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/mumoe/block_fixture.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::input_leaf;
using testing::numbers;
using testing::relative_error;
using testing::small_block;
using testing::TestBlock;
using Tensors = std::vector<Tensor>;

constexpr std::int64_t kTokens = 13;

struct Gate {
  GateConfig config;
  bool training = true;
};

std::vector<Gate> gates() {
  std::vector<Gate> all;
  for (const auto activation : {GateActivation::entmax15,
                                GateActivation::softmax,
                                GateActivation::top_k}) {
    for (const auto norm : {GateNorm::layer, GateNorm::batch, GateNorm::none}) {
      all.push_back({{activation, norm, 3}});
    }
    all.push_back({{activation, GateNorm::batch, 3}, false});
  }
  return all;
}

/// Statistics as after some training.
void set_statistics(TestBlock& block, bool training) {
  for (BatchStatistics& s : block->statistics()) {
    s.running_mean.copy_(at::linspace(-1, 1, s.running_mean.numel()));
    s.running_var.copy_(at::linspace(0.5, 2, s.running_var.numel()));
  }
  block->set_training(training);
}

/// The slope of Σ forward(x)∘w along `direction` at every leaf, one after the
/// other.
void expect_slopes(TestBlock& block, const Tensor& x, const Tensor& w) {
  const Tensors found = block.gradients(x, w);
  const Tensors leaves = block.leaves(x);
  const auto names = block.names();
  const at::NoGradGuard no_grad;
  const auto loss = [&] {
    return (block->forward(x) * w).sum().item<double>();
  };
  constexpr double kStep = 1e-6;
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    // All elements at once along two directions, and some one by one.
    const Tensor at = leaves[k].detach().clone();
    const auto along = [&](const Tensor& direction) {
      leaves[k].copy_(at + kStep * direction);
      const double above = loss();
      leaves[k].copy_(at - kStep * direction);
      const double below = loss();
      leaves[k].copy_(at);
      const double slope = (above - below) / (2 * kStep);
      const double expected = (found[k] * direction).sum().item<double>();
      EXPECT_NEAR(expected, slope, 2e-6 * (1 + std::abs(slope))) << names[k];
    };
    for (const std::uint64_t stream : {70, 71}) {
      const Tensor direction = numbers(at.sizes(), stream);
      along(direction / direction.norm());
    }
    for (std::int64_t i = 0; i < at.numel(); i += 1 + at.numel() / 5) {
      const Tensor direction = at::zeros_like(at);
      direction.view(-1)[i] = 1;
      along(direction);
    }
  }
}

TEST(BlockGradient, EqualsFiniteDifferencesThroughEveryGate) {
  for (const Gate& gate : gates()) {
    SCOPED_TRACE(fmt::format("{}{}",
                             to_string(gate.config),
                             gate.training ? "" : ", evaluation"));
    for (const Form form : {Form::cp, Form::tensor_ring}) {
      BlockConfig c = small_block(form, {5, 4});
      c.gate = gate.config;
      TestBlock block(c);
      block.randomise();
      set_statistics(block, gate.training);
      expect_slopes(block,
                    input_leaf(kTokens, c.input_dim),
                    numbers({kTokens, c.output_dim}, 901));
    }
  }
}

TEST(BlockGradient, EqualsFiniteDifferencesOfEveryForm) {
  for (const Form form : testing::kForms) {
    for (const auto& experts : testing::expert_counts()) {
      for (const bool with : {false, true}) {
        BlockConfig c = small_block(form, experts);
        c.input_layer_norm = c.expert_bias = with;
        if (with) c.output_dim = 0;
        const std::int64_t outputs = with ? c.hidden_dim : c.output_dim;
        SCOPED_TRACE(
            fmt::format("{}, {} levels", to_string(form), experts.size()));
        TestBlock block(c);
        block.randomise();
        expect_slopes(block,
                      input_leaf(kTokens, c.input_dim),
                      numbers({kTokens, outputs}, 901));
      }
    }
  }
}

TEST(BlockGradient, OnlyWhereAskedFor) {
  for (const Form form : testing::kForms) {
    for (const bool norm : {false, true}) {
      BlockConfig c = small_block(form, {5, 4});
      c.input_layer_norm = norm;
      TestBlock block(c);
      block.randomise();
      const Tensor x = input_leaf(kTokens, c.input_dim);
      const Tensor w = numbers({kTokens, c.output_dim}, 901);
      const Tensors all = block.gradients(x, w);
      const auto names = block.names();
      for (std::size_t frozen = 0; frozen < all.size(); ++frozen) {
        const Tensor leaf = block.leaves(x)[frozen];
        leaf.requires_grad_(false);
        const Tensors found = block.gradients(x, w);
        leaf.requires_grad_(true);
        for (std::size_t i = 0; i < all.size(); ++i) {
          EXPECT_TRUE(at::equal(found[i],
                                i == frozen ? at::zeros_like(all[i]) : all[i]))
              << names[i] << " without " << names[frozen];
        }
      }
      // A single one of all, and none.
      for (const Tensor& leaf : block.leaves(x)) leaf.requires_grad_(false);
      EXPECT_FALSE(block->forward(x).requires_grad());
      for (std::size_t k = 0; k < all.size(); ++k) {
        const Tensor leaf = block.leaves(x)[k];
        leaf.requires_grad_(true);
        EXPECT_TRUE(at::equal(block.gradients(x, w)[k], all[k])) << names[k];
        leaf.requires_grad_(false);
      }
    }
  }
}

TEST(BlockGradient, RecomputationChangesNoBit) {
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const Form form : testing::kForms) {
      for (const auto mixing : {Mixing::dense, Mixing::sparse}) {
        BlockConfig c = small_block(form, {5, 4});
        c.mixing = mixing;
        TestBlock keeps(c, dtype);
        c.recompute = true;
        TestBlock recomputes(c, dtype);
        keeps.randomise();
        recomputes.randomise();
        const Tensor x = input_leaf(kTokens, c.input_dim, dtype);
        const Tensor w = numbers({kTokens, c.output_dim}, 901).to(dtype);
        EXPECT_TRUE(at::equal(keeps->forward(x), recomputes->forward(x)));
        const Tensors right = keeps.gradients(x, w);
        const Tensors found = recomputes.gradients(x, w);
        for (std::size_t i = 0; i < right.size(); ++i) {
          EXPECT_TRUE(at::equal(found[i], right[i])) << keeps.names()[i];
        }
      }
    }
  }
}

TEST(BlockGradient, MixingAgreesToRounding) {
  for (const Gate& gate : gates()) {
    for (const Form form : testing::kForms) {
      BlockConfig c = small_block(form, {5, 4});
      c.gate = gate.config;
      c.mixing = Mixing::dense;
      TestBlock dense(c);
      dense.randomise();
      set_statistics(dense, gate.training);
      const Tensor x = input_leaf(kTokens, c.input_dim);
      const Tensor w = numbers({kTokens, c.output_dim}, 901);
      const Tensor y = dense->forward(x);
      const Tensors right = dense.gradients(x, w);
      for (const auto mixing : {Mixing::sparse, Mixing::automatic}) {
        c.mixing = mixing;
        TestBlock other(c);
        other.randomise();
        set_statistics(other, gate.training);
        EXPECT_LT(relative_error(other->forward(x), y), 1e-13);
        const Tensors found = other.gradients(x, w);
        for (std::size_t i = 0; i < right.size(); ++i) {
          EXPECT_LT(relative_error(found[i], right[i]), 1e-11)
              << other.names()[i] << ", " << to_string(gate.config);
        }
      }
    }
  }
}

TEST(BlockBatchNorm, EvaluationUsesRunningStatisticsAndLeavesThem) {
  BlockConfig c = small_block(Form::cp, {11});
  c.gate.norm = GateNorm::batch;
  TestBlock block(c);
  block.randomise();
  const Tensor x = input_leaf(kTokens, c.input_dim);
  for (int step = 0; step < 60; ++step) block->forward(x);
  // They have come to those of this batch (the running variance is unbiased).
  const Tensor logits = at::mm(x, block.value("gate.0")).detach();
  const BatchStatistics& s = block->statistics()[0];
  EXPECT_LT(relative_error(s.running_mean, logits.mean(0)), 0.01);
  EXPECT_LT(relative_error(s.running_var, logits.var(0)), 0.01);
  const Tensor mean = s.running_mean.clone(), var = s.running_var.clone();
  Tensors a;
  const Tensor y = block->forward(x);
  EXPECT_FALSE(at::equal(s.running_var, var)) << "training moves them";
  s.running_mean.copy_(mean);
  s.running_var.copy_(var);
  block->set_training(false);
  const Tensor whole = block->forward(x, a);
  EXPECT_TRUE(at::equal(s.running_mean, mean));
  EXPECT_TRUE(at::equal(s.running_var, var));
  EXPECT_TRUE(at::equal(a[0], block->coefficients(x)[0]));
  EXPECT_GT(relative_error(whole, y), 1e-3);
  EXPECT_LT(relative_error(whole, y), 0.3);
  // A token's value does not depend on the others, not even alone.
  EXPECT_LT(
      relative_error(block->forward(x.slice(0, 4, 5)), whole.slice(0, 4, 5)),
      1e-13);
  block->set_training(true);
  EXPECT_THROW(block->forward(x.slice(0, 4, 5)), InputError);
}

TEST(BlockTypes, NarrowOnesFollowFp64) {
  for (const Form form : testing::kForms) {
    BlockConfig c = small_block(form, {5, 4});
    TestBlock wide(c);
    wide.randomise();
    const Tensor w = numbers({kTokens, c.output_dim}, 901);
    for (const auto& [weights, input, close] :
         {std::tuple{at::kFloat, at::kFloat, 1e-6},
          std::tuple{at::kBFloat16, at::kBFloat16, 0.015},
          std::tuple{at::kBFloat16, at::kFloat, 0.015}}) {
      TestBlock narrow(c, weights);
      narrow.randomise();
      // What the narrow block computes with, in fp64.
      {
        const at::NoGradGuard no_grad;
        for (const auto& p : wide.parameters()) {
          p.value.copy_(narrow.value(p.name));
        }
      }
      const Tensor x = input_leaf(kTokens, c.input_dim, input);
      const Tensor x_wide = x.detach().to(at::kDouble).requires_grad_(true);
      const Tensor y = narrow->forward(x);
      EXPECT_EQ(y.scalar_type(), weights);
      EXPECT_LT(relative_error(y, wide->forward(x_wide)), close)
          << to_string(form) << " " << weights;
      const Tensors found = narrow.gradients(x, w.to(weights));
      const Tensors right = wide.gradients(x_wide, w);
      EXPECT_EQ(found[0].scalar_type(), input);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_LT(relative_error(found[i], right[i]), 2 * close)
            << to_string(form) << " " << narrow.names()[i] << " " << weights;
      }
    }
  }
}

TEST(BlockSizes, OneExpertIsALowRankMlp) {
  for (const auto norm : {GateNorm::layer, GateNorm::batch, GateNorm::none}) {
    BlockConfig c = small_block(Form::cp, {1});
    c.gate.norm = norm;
    c.input_layer_norm = false;
    TestBlock block(c);
    block.randomise();
    const Tensor x = input_leaf(kTokens, c.input_dim);
    const auto apply = [&](const Tensor& z, std::size_t layer) {
      const Expert e = block->materialize(layer, {0});
      return at::addmm(e.bias, z, e.matrix);
    };
    const Tensor expected = apply(at::gelu(apply(x, 0)), 1);
    std::vector<Tensor> a;
    EXPECT_LT(relative_error(block->forward(x, a), expected), 1e-13);
    EXPECT_TRUE((a[0] == 1).all().item<bool>());
    const Tensors found =
        block.gradients(x, numbers({kTokens, c.output_dim}, 901));
    EXPECT_EQ(found[1].abs().sum().item<double>(), 0) << "of the gate";
  }
}

TEST(BlockSizes, FourThousandExperts) {
  for (const auto& experts :
       {std::vector<std::int64_t>{4096}, {64, 64}, {8, 8, 8, 8}}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      BlockConfig c = small_block(Form::cp, experts);
      c.ranks = {40};
      TestBlock block(c, dtype);
      block.randomise();
      const Tensor x = input_leaf(kTokens, c.input_dim, dtype);
      const Tensor w = numbers({kTokens, c.output_dim}, 901).to(dtype);
      const Tensors found = block.gradients(x, w);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_TRUE(found[i].isfinite().all().item<bool>());
        EXPECT_GT(found[i].abs().sum().item<double>(), 0);
      }
      c.mixing = Mixing::dense;
      TestBlock dense(c, dtype);
      dense.randomise();
      EXPECT_LT(relative_error(block->forward(x), dense->forward(x)),
                dtype == at::kFloat ? 1e-5 : 0.05);
    }
  }
}

TEST(BlockSizes, NoTokens) {
  for (const Form form : testing::kForms) {
    TestBlock block(small_block(form, {5, 4}));
    block.randomise();
    const Tensor x = input_leaf(0, 6);
    const Tensor y = block->forward(x);
    EXPECT_EQ(y.sizes(), (std::vector<std::int64_t>{0, 7}));
    y.sum().backward();
    for (const auto& p : block.parameters()) {
      EXPECT_EQ(p.value.grad().abs().sum().item<double>(), 0) << p.name;
    }
  }
}

}  // namespace
}  // namespace mumoe
