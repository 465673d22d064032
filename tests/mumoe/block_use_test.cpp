// What a block takes, what it refuses, and what it shows of itself.
#include <gtest/gtest.h>

#include <array>

#include "tests/mumoe/block_fixture.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::expect_input_error;
using testing::numbers;
using testing::small_block;
using testing::TestBlock;
using Tensors = std::vector<Tensor>;

constexpr std::int64_t kTokens = 13;

TEST(BlockUse, IsRefusedWhileAParameterHasNoValues) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kDouble, at::kCPU);
  const MuMoEBlock block(small_block(Form::cp, {5, 4}), "h.3.mlp.", registry);
  const MuMoEBlock other(small_block(Form::cp, {5}), "h.4.mlp.", registry);
  const Tensor x = numbers({kTokens, 6}, 1);
  const auto refused = [&](const MuMoEBlock& which, const std::string& name) {
    expect_input_error([&] { which.forward(x); }, {name, "no values"});
    expect_input_error([&] { which.coefficients(x); }, {name, "no values"});
    expect_input_error(
        [&] {
          which.materialize(0, {0, 0});
        },
        {name, "no values"});
  };
  refused(block, "h.3.mlp.");
  dist::FlatBuckets buckets(registry, 1 << 16);
  refused(block, "h.3.mlp.");
  expect_input_error([&] { registry.await(0, 1); }, {"no values"});
  // One after the other: a block has values when all of its own have.
  for (std::size_t i = 0; i < registry.parameters().size(); ++i) {
    const bool whole =
        i > 0 && !registry.parameters()[i - 1].name.starts_with("h.3");
    if (whole) {
      block.forward(x);
    } else if (!registry.parameters()[i].name.starts_with("h.4")) {
      refused(block, "h.3.mlp.");
    }
    refused(other, "h.4.mlp.");
    for (const auto& bucket : buckets.buckets()) {
      for (const auto& entry : bucket.entries) {
        if (entry.parameter != i) continue;
        const auto& p = buckets.parameter(entry);
        buckets.assign(numbers(p.global_shape, i), bucket, entry);
      }
    }
  }
  block.forward(x);
  other.forward(x);
  registry.await(0, registry.parameters().size());
}

/// Every dtype of x with every one of the block, against fp64 throughout.
TEST(BlockUse, TakesAnInputOfAnyDtype) {
  for (const bool norm : {true, false}) {
    for (const auto weights : {at::kDouble, at::kFloat, at::kBFloat16}) {
      for (const auto input : {at::kDouble, at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(fmt::format("{} of {}, norm {}",
                                 at::toString(weights),
                                 at::toString(input),
                                 norm));
        BlockConfig c = small_block(Form::tensor_ring, {5, 4});
        c.input_layer_norm = norm;
        TestBlock block(c, weights), wide(c);
        block.randomise();
        {
          const at::NoGradGuard no_grad;
          for (const auto& p : wide.parameters()) {
            p.value.copy_(block.value(p.name));
          }
        }
        const Tensor x = testing::input_leaf(kTokens, 6, input);
        const Tensor x_wide = x.detach().to(at::kDouble).requires_grad_(true);
        const Tensor w = numbers({kTokens, 7}, 901);
        const Tensor y = block->forward(x);
        EXPECT_EQ(y.scalar_type(), weights);
        const bool narrow = weights == at::kBFloat16 || input == at::kBFloat16;
        const bool exact = weights == at::kDouble && input == at::kDouble;
        const double close = narrow ? 0.02 : exact ? 1e-13 : 2e-6;
        EXPECT_LT(testing::relative_error(y, wide->forward(x_wide)), close);
        const Tensors found = block.gradients(x, w.to(weights));
        const Tensors right = wide.gradients(x_wide, w);
        EXPECT_EQ(found[0].scalar_type(), input);
        for (std::size_t i = 0; i < found.size(); ++i) {
          EXPECT_LT(testing::relative_error(found[i], right[i]), 2 * close)
              << block.names()[i];
        }
      }
    }
  }
}

TEST(BlockUse, IsRefusedForAnInputOfAnotherKind) {
  TestBlock block(small_block(Form::cp, {5}));
  const auto refused = [&](const Tensor& x, const std::string& part) {
    expect_input_error([&] { block->forward(x); }, {"the block", part});
    expect_input_error([&] { block->coefficients(x); }, {"the block", part});
  };
  refused(numbers({3, 5}, 1), "shape [3, 5], expected its last dim to be 6");
  refused(numbers({2, 6, 3}, 1), "shape [2, 6, 3]");
  refused(at::scalar_tensor(1.0), "shape []");
  refused(Tensor(), "expected its last dim to be 6");
  refused(at::ones({3, 6}, at::kLong), "dtype Long, expected fp32");
  refused(at::ones({3, 6}, at::kHalf), "dtype Half, expected fp32");
  refused(at::ones({3, 6}, at::TensorOptions(at::kDouble).device(at::kMeta)),
          "input on meta, expected it where the block is, on cpu");
}

TEST(BlockUse, ShowsCoefficientsInTheShapeOfTheInput) {
  for (const auto& experts : testing::expert_counts()) {
    TestBlock block(small_block(Form::cp, experts));
    block.randomise();
    const Tensor x = numbers({2, 3, kTokens, 6}, 1);
    Tensors mixed, seen;
    block->watch([&](const Tensors& a) { seen = a; });
    block->forward(x, mixed);
    const Tensors a = block->coefficients(x);
    const Tensors flat = block->coefficients(x.view({-1, 6}));
    ASSERT_EQ(a.size(), experts.size());
    ASSERT_EQ(seen.size(), experts.size());
    for (std::size_t e = 0; e < a.size(); ++e) {
      EXPECT_EQ(a[e].sizes(),
                (std::vector<std::int64_t>{2, 3, kTokens, experts[e]}));
      EXPECT_TRUE(at::equal(a[e], mixed[e]));
      EXPECT_TRUE(at::equal(a[e].view({-1, experts[e]}), flat[e]));
      EXPECT_TRUE(at::equal(seen[e], flat[e]));
    }
    seen.clear();
    block->watch({});
    block->forward(x);
    EXPECT_TRUE(seen.empty());
  }
}

TEST(BlockUse, SharesItsFactorsWithTheirCopies) {
  TestBlock block(small_block(Form::cp, {5}));
  block.randomise();
  const Tensor x = numbers({kTokens, 6}, 1);
  const Tensor y = block->forward(x);
  const Factors copy = block->layers()[1];
  {
    const at::NoGradGuard no_grad;
    copy.output.mul_(2);
  }
  EXPECT_TRUE(at::equal(block->forward(x), 2 * y));
}

}  // namespace
}  // namespace mumoe
