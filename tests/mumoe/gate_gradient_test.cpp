// Gradients of the gate against finite differences in fp64: every norm and
// activation, with respect to the input and the weight.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "mumoe/gate.h"

namespace mumoe {
namespace {

using at::Tensor;

constexpr std::int64_t kRows = 6, kInputs = 5, kExperts = 11;

struct Case {
  GateConfig config;
  bool training;

  Tensor coefficients(const Tensor& x, const Tensor& weight) const {
    // Running statistics start anew: only evaluation reads them.
    BatchStatistics statistics{
        .running_mean = at::linspace(-1, 1, kExperts, at::kDouble),
        .running_var = at::linspace(0.5, 2, kExperts, at::kDouble),
        .training = training};
    return gate(x, weight, config, GemmLibrary::mkl, &statistics);
  }
};

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const auto activation : {GateActivation::entmax15,
                                GateActivation::softmax,
                                GateActivation::top_k}) {
    for (const auto norm : {GateNorm::layer, GateNorm::batch, GateNorm::none}) {
      result.push_back({{activation, norm, 4}, true});
    }
    result.push_back({{activation, GateNorm::batch, 4}, false});
  }
  return result;
}

/// d/dt of Σ coefficients∘w at `values`, one value after the other.
template <class F>
void expect_slopes(const Tensor& grad, const Tensor& values, F loss) {
  const double step = 1e-6;
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const Tensor up = values.clone(), down = values.clone();
    up.view(-1)[i] += step;
    down.view(-1)[i] -= step;
    const double slope = (loss(up) - loss(down)) / (2 * step);
    ASSERT_NEAR(grad.view(-1)[i].template item<double>(), slope, 2e-6) << i;
  }
}

TEST(GateGradient, EqualsFiniteDifferences) {
  at::manual_seed(6);
  const auto options = at::dtype(at::kDouble);
  const Tensor x = at::randn({kRows, kInputs}, options);
  const Tensor weight = 0.7 * at::randn({kInputs, kExperts}, options);
  const Tensor w = at::randn({kRows, kExperts}, options);
  for (const Case& c : cases()) {
    SCOPED_TRACE(to_string(c.config));
    const Tensor x_leaf = x.clone().requires_grad_(true);
    const Tensor weight_leaf = weight.clone().requires_grad_(true);
    c.coefficients(x_leaf, weight_leaf).backward(w);
    expect_slopes(x_leaf.grad(), x, [&](const Tensor& at) {
      return (c.coefficients(at, weight) * w).sum().item<double>();
    });
    expect_slopes(weight_leaf.grad(), weight, [&](const Tensor& at) {
      return (c.coefficients(x, at) * w).sum().item<double>();
    });
  }
}

// Either may be a constant.
TEST(GateGradient, OnlyWhereAskedFor) {
  const Tensor x = at::randn({kRows, kInputs}, at::kDouble);
  const Tensor weight = at::randn({kInputs, kExperts}, at::kDouble);
  const Tensor w = at::randn({kRows, kExperts}, at::kDouble);
  for (const Case& c : cases()) {
    const Tensor x_leaf = x.clone().requires_grad_(true);
    const Tensor weight_leaf = weight.clone().requires_grad_(true);
    c.coefficients(x_leaf, weight_leaf).backward(w);
    const Tensor x_alone = x.clone().requires_grad_(true);
    c.coefficients(x_alone, weight).backward(w);
    EXPECT_TRUE(at::equal(x_alone.grad(), x_leaf.grad()));
    const Tensor weight_alone = weight.clone().requires_grad_(true);
    c.coefficients(x, weight_alone).backward(w);
    EXPECT_TRUE(at::equal(weight_alone.grad(), weight_leaf.grad()));
  }
}

}  // namespace
}  // namespace mumoe
