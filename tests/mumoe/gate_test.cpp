#include "mumoe/gate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"

namespace mumoe {
namespace {

using at::Tensor;

Tensor random_logits(at::IntArrayRef shape, at::ScalarType dtype) {
  at::manual_seed(3);
  return at::randn(shape, at::kDouble).to(dtype);
}

/// Gradient of Σ a∘w with respect to a leaf of these logits.
Tensor gradient(const Tensor& logits, const Tensor& w, GateNorm norm) {
  const Tensor leaf = logits.detach().clone().requires_grad_(true);
  (gate_coefficients(leaf, norm) * w).sum().backward();
  return leaf.grad();
}

TEST(Gate, KeepsShapeAndDtype) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const auto& shape :
         std::vector<std::vector<std::int64_t>>{{7},
                                                {5, 16},
                                                {2, 3, 64},
                                                {0, 8},
                                                {2, 1, 3, 1}}) {
      const Tensor a =
          gate_coefficients(random_logits(shape, dtype), GateNorm::layer);
      EXPECT_EQ(a.sizes(), at::IntArrayRef(shape));
      EXPECT_EQ(a.scalar_type(), dtype);
      EXPECT_TRUE(a.is_contiguous());
      const Tensor sums = a.to(at::kDouble).sum(-1);
      EXPECT_TRUE(at::allclose(sums, at::ones_like(sums), 0, 2e-2));
    }
  }
}

TEST(Gate, NonContiguousLogits) {
  const Tensor wide = random_logits({6, 32, 5}, at::kDouble);
  const Tensor logits = wide.transpose(1, 2);
  const Tensor w = at::randn({6, 5, 32}, at::kDouble);
  for (const GateNorm norm : {GateNorm::layer, GateNorm::none}) {
    EXPECT_TRUE(at::equal(gate_coefficients(logits, norm),
                          gate_coefficients(logits.contiguous(), norm)));
    const Tensor leaf = wide.clone().requires_grad_(true);
    const Tensor a = gate_coefficients(leaf.transpose(1, 2), norm);
    // The gradient that arrives is a transposed view as well.
    (a.transpose(1, 2) * w.transpose(1, 2)).sum().backward();
    EXPECT_TRUE(at::allclose(leaf.grad().transpose(1, 2),
                             gradient(logits.contiguous(), w, norm)));
  }
}

TEST(Gate, GradientEqualsFiniteDifferences) {
  const Tensor logits = random_logits({4, 24}, at::kDouble);
  const Tensor w = at::randn({4, 24}, at::kDouble);
  const double step = 1e-6;
  for (const GateNorm norm : {GateNorm::layer, GateNorm::none}) {
    const Tensor grad = gradient(logits, w, norm);
    for (std::int64_t i = 0; i < logits.numel(); ++i) {
      Tensor up = logits.clone(), down = logits.clone();
      up.view(-1)[i] += step;
      down.view(-1)[i] -= step;
      const Tensor difference =
          gate_coefficients(up, norm) - gate_coefficients(down, norm);
      const double slope = (difference * w).sum().item<double>() / (2 * step);
      ASSERT_NEAR(grad.view(-1)[i].item<double>(), slope, 2e-6);
    }
  }
}

TEST(Gate, ThreadsDoNotChangeValues) {
  const Tensor logits = random_logits({3000, 64}, at::kFloat);
  const Tensor w = at::randn({3000, 64});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor a = gate_coefficients(logits, GateNorm::layer);
  const Tensor grad = gradient(logits, w, GateNorm::layer);
  at::set_num_threads(3);
  EXPECT_TRUE(at::equal(gate_coefficients(logits, GateNorm::layer), a));
  EXPECT_TRUE(at::equal(gradient(logits, w, GateNorm::layer), grad));
  at::set_num_threads(threads);
}

TEST(Gate, WrongInputsAreErrors) {
  EXPECT_THROW(gate_coefficients(at::zeros({}), GateNorm::layer),
               InternalError);
  EXPECT_THROW(gate_coefficients(at::zeros({3, 0}), GateNorm::layer),
               InternalError);
  EXPECT_THROW(gate_coefficients(at::zeros({3, 4}, at::kInt), GateNorm::layer),
               InternalError);
}

}  // namespace
}  // namespace mumoe
