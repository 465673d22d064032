#include "model/cross_entropy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "model/embedding.h"

namespace mumoe::model {
namespace {

TEST(LinearCrossEntropy, EqualsTheComposedOperations) {
  // The second vocabulary makes several chunks.
  for (const std::int64_t vocab : {11, 1 << 20}) {
    const std::int64_t tokens = 37, width = 4;
    at::Tensor h = at::sin(at::arange(tokens * width, at::kDouble) * 1.7)
                       .view({tokens, width});
    at::Tensor w = at::cos(at::arange(vocab * width, at::kDouble) * 0.3)
                       .view({vocab, width});
    const at::Tensor targets = at::arange(tokens, at::kLong) * 7919 % vocab;
    h.requires_grad_(true);
    w.requires_grad_(true);
    const at::Tensor expected = at::cross_entropy_loss(at::mm(h, w.t()),
                                                       targets,
                                                       {},
                                                       at::Reduction::Sum) *
                                0.25;
    (expected * 3).backward();
    const at::Tensor dh = h.grad().clone(), dw = w.grad().clone();
    h.mutable_grad().reset();
    w.mutable_grad().reset();
    const at::Tensor loss = linear_cross_entropy(h, w, targets, 0.25);
    EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-10);
    (loss * 3).backward();
    EXPECT_TRUE(at::allclose(h.grad(), dh, 1e-10, 1e-13));
    EXPECT_TRUE(at::allclose(w.grad(), dw, 1e-10, 1e-13));
    at::NoGradGuard no_grad;
    EXPECT_EQ(linear_cross_entropy(h, w, targets, 0.25).item<double>(),
              loss.item<double>());
  }
}

TEST(LinearCrossEntropy, Bf16LossIsSummedInFp32) {
  const at::Tensor h = at::zeros({4096, 8}, at::kBFloat16);
  const at::Tensor w = at::zeros({256, 8}, at::kBFloat16);
  const at::Tensor targets = at::zeros({4096}, at::kLong);
  const at::Tensor loss = linear_cross_entropy(h, w, targets, 1.0 / 4096);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  EXPECT_NEAR(loss.item<double>(), std::log(256.0), 1e-5);
}

TEST(Embed, GradientOfACommonTokenKeepsItsSmallParts) {
  at::Tensor w = at::zeros({3, 2}, at::kBFloat16);
  w.requires_grad_(true);
  const at::Tensor ids = at::ones({1000}, at::kLong);
  embed(w, ids).sum().backward();
  // A bf16 sum of ones stops at 256.
  EXPECT_EQ(w.grad()[1][0].item<float>(), 1000.0f);
  EXPECT_EQ(w.grad()[0][0].item<float>(), 0.0f);
}

}  // namespace
}  // namespace mumoe::model
