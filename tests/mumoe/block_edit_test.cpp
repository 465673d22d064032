// Edits of experts, and the coefficients that a block hands out.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "tests/mumoe/block_fixture.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::input_leaf;
using testing::numbers;
using testing::TestBlock;
using Tensors = std::vector<Tensor>;

constexpr std::int64_t kTokens = 13;

/// Ranks with which every m_e is at least a vector: in narrower ones the
/// compiler may round a sum of fewer experts otherwise.
std::vector<std::int64_t> wide_ranks(Form form, std::size_t levels) {
  using Ranks = std::vector<std::int64_t>;
  if (form == Form::cp) return {17};
  if (form == Form::tensor_ring)
    return levels == 1 ? Ranks{4, 4, 3} : Ranks{4, 4, 5, 3};
  if (form == Form::tensor_train)
    return levels == 1 ? Ranks{1, 16, 3} : Ranks{1, 16, 2, 3};
  return levels == 1 ? Ranks{16, 3, 4} : Ranks{16, 19, 3, 4};
}

/// Every form with one level and two, one layer and two, mixed both ways:
/// `automatic` counts the active experts, which an edit changes.
std::vector<BlockConfig> configs() {
  std::vector<BlockConfig> all;
  for (const Form form : testing::kForms) {
    for (const auto& experts : testing::expert_counts()) {
      for (const std::int64_t output : {0, 7}) {
        for (const auto mixing : {Mixing::dense, Mixing::sparse}) {
          BlockConfig c = testing::small_block(form, experts);
          c.ranks = wide_ranks(form, experts.size());
          c.output_dim = output;
          c.mixing = mixing;
          // The gradient of coefficients is needed everywhere, or on the
          // support alone.
          if (all.size() % 3 == 2) {
            c.gate.activation = GateActivation::softmax;
          }
          all.push_back(c);
        }
      }
    }
  }
  return all;
}

std::string name_of(const BlockConfig& c) {
  return fmt::format("{}, {} levels, output {}{}{}",
                     to_string(c.form),
                     c.experts.size(),
                     c.output_dim,
                     c.mixing == Mixing::dense ? ", dense, " : ", sparse, ",
                     to_string(c.gate));
}

std::int64_t outputs(const BlockConfig& c) {
  return c.output_dim == 0 ? c.hidden_dim : c.output_dim;
}

/// Multiplies the rows of an expert in the factors of all layers.
void scale_factors(TestBlock& block,
                   std::size_t level,
                   std::int64_t expert,
                   double factor) {
  const at::NoGradGuard no_grad;
  for (const Factors& u : block->layers()) {
    u.expert.at(level).select(0, expert).mul_(factor);
  }
}

/// `edited` and `factors` are one function: outputs and gradients of the input
/// and of what was not edited are the same bits. The gradient of an expert's
/// rows is `factor[n]` times that of the scaled rows.
void expect_same(TestBlock& edited,
                 TestBlock& factors,
                 std::size_t level,
                 const std::vector<double>& factor) {
  const BlockConfig& c = edited->config();
  const Tensor x = input_leaf(kTokens, c.input_dim);
  const Tensor w = numbers({kTokens, outputs(c)}, 901);
  ASSERT_TRUE(at::equal(edited->forward(x), factors->forward(x)));
  const Tensors found = edited.gradients(x, w);
  const Tensors right = factors.gradients(x, w);
  const auto names = edited.names();
  const Tensor scale = at::tensor(at::ArrayRef<double>(factor), at::kDouble);
  for (std::size_t i = 0; i < names.size(); ++i) {
    Tensor expected = right[i];
    if (names[i].ends_with(fmt::format("expert.{}", level))) {
      std::vector<std::int64_t> rows(expected.dim(), 1);
      rows[0] = -1;
      expected = expected * scale.view(rows);
    }
    ASSERT_TRUE(at::equal(found[i], expected)) << names[i];
    ASSERT_GT(found[i].abs().sum().item<double>(), 0) << names[i];
  }
}

TEST(BlockEdits, AreThoseOfTheFactorsOfBothLayers) {
  for (const BlockConfig& c : configs()) {
    SCOPED_TRACE(name_of(c));
    for (std::size_t level = 0; level < c.experts.size(); ++level) {
      const std::int64_t n = level == 0 ? 2 : c.experts[level] - 1;
      for (const double factor : {0.5, 2.0, 0.0, -1.0}) {
        TestBlock edited(c), factors(c);
        edited.randomise();
        factors.randomise();
        const Tensor x = input_leaf(kTokens, c.input_dim);
        const Tensor before = edited->forward(x);
        if (factor == 0) {
          edited->remove_expert(level, n);
        } else {
          edited->scale_expert(level, n, factor);
        }
        scale_factors(factors, level, n, factor);
        EXPECT_FALSE(at::equal(edited->forward(x), before));
        std::vector<double> scales(c.experts[level], 1);
        scales[n] = factor;
        expect_same(edited, factors, level, scales);
        edited->clear_edits();
        EXPECT_TRUE(at::equal(edited->forward(x), before));
      }
    }
  }
}

TEST(BlockEdits, KeptExpertsAreAllThatIsLeft) {
  for (const BlockConfig& c : configs()) {
    SCOPED_TRACE(name_of(c));
    for (std::size_t level = 0; level < c.experts.size(); ++level) {
      TestBlock edited(c), factors(c);
      edited.randomise();
      factors.randomise();
      edited->scale_expert(level, 1, 4);  // stays
      edited->keep_experts(level, {1, 3});
      std::vector<double> scales(c.experts[level], 0);
      scales[1] = 4;
      scales[3] = 1;
      for (std::int64_t n = 0; n < c.experts[level]; ++n) {
        scale_factors(factors, level, n, scales[n]);
      }
      expect_same(edited, factors, level, scales);
      std::vector<Tensor> a;
      edited->forward(input_leaf(kTokens, c.input_dim), a);
      EXPECT_EQ((a[level] != 0).sum(0).ne(0).sum().item<std::int64_t>(), 2);
    }
  }
}

TEST(BlockEdits, AddUpOverCallsAndLevels) {
  BlockConfig c = testing::small_block(Form::cp, {5, 4});
  c.mixing = Mixing::dense;
  TestBlock block(c), factors(c);
  block.randomise();
  factors.randomise();
  const Tensor x = input_leaf(kTokens, c.input_dim);
  const Tensor before = block->forward(x);
  block->scale_expert(0, 2, 0.5);
  block->scale_expert(0, 2, 2);
  EXPECT_TRUE(at::equal(block->forward(x), before));
  block->scale_expert(1, 3, 0.25);
  block->remove_expert(0, 2);
  block->scale_expert(0, 2, 8);  // of nothing
  scale_factors(factors, 1, 3, 0.25);
  scale_factors(factors, 0, 2, 0);
  EXPECT_TRUE(at::equal(block->forward(x), factors->forward(x)));
  block->keep_experts(1, {});
  EXPECT_EQ(block->forward(x).abs().sum().item<double>(), 0);
}

TEST(BlockEdits, OfExpertsThatThereAreNotAreRefused) {
  TestBlock block(testing::small_block(Form::tensor_ring, {5, 4}));
  block.randomise();
  const Tensor x = input_leaf(kTokens, 6);
  const Tensor before = block->forward(x);
  EXPECT_THROW(block->scale_expert(2, 0, 2), InputError);
  EXPECT_THROW(block->scale_expert(0, 5, 2), InputError);
  EXPECT_THROW(block->scale_expert(1, 4, 2), InputError);
  EXPECT_THROW(block->scale_expert(0, -1, 2), InputError);
  EXPECT_THROW(block->remove_expert(0, 5), InputError);
  EXPECT_THROW(block->remove_expert(7, 0), InputError);
  EXPECT_THROW(block->keep_experts(0, {0, 5}), InputError);
  EXPECT_THROW(block->keep_experts(0, {-1}), InputError);
  EXPECT_THROW(block->keep_experts(2, {0}), InputError);
  EXPECT_THROW(block->materialize(2, {0, 0}), InputError);
  EXPECT_THROW(block->materialize(0, {0}), InputError);
  EXPECT_THROW(block->materialize(1, {0, 4}), InputError);
  EXPECT_THROW(block->forward(numbers({3, 5}, 1)), InputError);
  EXPECT_TRUE(at::equal(block->forward(x), before)) << "refused, yet made";
}

TEST(BlockEdits, InNarrowTypes) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto mixing : {Mixing::dense, Mixing::sparse}) {
      BlockConfig c = testing::small_block(Form::cp, {11});
      c.ranks = {17};
      c.mixing = mixing;
      TestBlock edited(c, dtype), factors(c, dtype);
      edited.randomise();
      factors.randomise();
      const Tensor x = input_leaf(kTokens, 6, at::kFloat);
      edited->remove_expert(0, 1);
      edited->scale_expert(0, 2, 0.5);
      scale_factors(factors, 0, 1, 0);
      scale_factors(factors, 0, 2, 0.5);
      EXPECT_TRUE(at::equal(edited->forward(x), factors->forward(x)));
    }
  }
}

TEST(BlockCoefficients, AreThoseThatWereMixed) {
  for (const auto& experts : testing::expert_counts()) {
    TestBlock block(testing::small_block(Form::cp, experts));
    block.randomise();
    const Tensor x = input_leaf(kTokens, 6);
    Tensors a{Tensor(), Tensor(), Tensor()};  // what was there is dropped
    block->forward(x, a);
    const Tensors again = block->coefficients(x);
    ASSERT_EQ(a.size(), experts.size());
    ASSERT_EQ(again.size(), experts.size());
    for (std::size_t e = 0; e < a.size(); ++e) {
      EXPECT_TRUE(at::equal(a[e], again[e]));
      EXPECT_EQ(a[e].sizes(), (std::vector<std::int64_t>{kTokens, experts[e]}));
      EXPECT_LT((a[e].sum(1) - 1).abs().max().item<double>(), 1e-12);
      EXPECT_TRUE((a[e] == 0).any().item<bool>());
      EXPECT_FALSE(a[e].requires_grad());
      EXPECT_FALSE(again[e].requires_grad());
    }
    // One more leading dim is of tokens, too.
    Tensors more;
    const Tensor y = block->forward(at::stack({x, x}), more);
    EXPECT_EQ(y.sizes(), (std::vector<std::int64_t>{2, kTokens, 7}));
    EXPECT_TRUE(at::equal(more[0], at::stack({a[0], a[0]})));
    EXPECT_LT(testing::relative_error(y[1], y[0]), 1e-14);
    // After edits, those that were mixed; `coefficients` knows none.
    block->scale_expert(0, 2, 0.5);
    block->forward(x, a);
    EXPECT_TRUE(at::equal(a[0].select(1, 2), again[0].select(1, 2) * 0.5));
    EXPECT_TRUE(at::equal(block->coefficients(x)[0], again[0]));
  }
}

// A graph that hangs on them would keep a step's activations.
TEST(BlockCoefficients, KeepNoGraphAlive) {
  for (const bool edit : {false, true}) {
    TestBlock block(testing::small_block(Form::tucker, {5, 4}));
    block.randomise();
    if (edit) block->scale_expert(0, 1, 0.5);
    Tensor x = input_leaf(kTokens, 6);
    Tensors a;
    Tensor y = block->forward(x, a);
    const c10::weak_intrusive_ptr<c10::TensorImpl> input(x.getIntrusivePtr());
    x.reset();
    EXPECT_FALSE(input.expired()) << "the graph of y holds its input";
    y.reset();
    EXPECT_TRUE(input.expired());
    for (const Tensor& level : a) {
      EXPECT_EQ(level.grad_fn(), nullptr);
      EXPECT_GT(level.sum().item<double>(), 0);
    }
  }
}

TEST(BlockCoefficients, NothingHoldsTheGraphAfterBackward) {
  TestBlock block(testing::small_block(Form::cp, {5, 4}));
  block.randomise();
  Tensor x = input_leaf(kTokens, 6);
  Tensor middle = x * 1;  // no leaf: freed with what saved it
  const c10::weak_intrusive_ptr<c10::TensorImpl> input(
      middle.getIntrusivePtr());
  Tensor y = block->forward(middle);
  middle.reset();
  EXPECT_FALSE(input.expired());
  y.sum().backward();
  EXPECT_TRUE(input.expired()) << "saved tensors are freed by backward";
}

}  // namespace
}  // namespace mumoe
