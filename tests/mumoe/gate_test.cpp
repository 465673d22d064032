#include "mumoe/gate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace mumoe {
namespace {

using at::Tensor;

Tensor random_logits(at::IntArrayRef shape, at::ScalarType dtype) {
  at::manual_seed(3);
  return at::randn(shape, at::kDouble).to(dtype);
}

constexpr GateActivation kActivations[] = {GateActivation::entmax15,
                                           GateActivation::softmax,
                                           GateActivation::top_k};

/// Every activation with the layer norm and without; top-k keeps three.
std::vector<GateConfig> configs() {
  std::vector<GateConfig> result;
  for (const auto activation : kActivations) {
    for (const auto norm : {GateNorm::layer, GateNorm::none}) {
      result.push_back({activation, norm, 3});
    }
  }
  return result;
}

/// Gradient of Σ a∘w with respect to a leaf of these logits.
Tensor gradient(const Tensor& logits,
                const Tensor& w,
                const GateConfig& config) {
  const Tensor leaf = logits.detach().clone().requires_grad_(true);
  (gate_coefficients(leaf, config) * w).sum().backward();
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
      const Tensor a = gate_coefficients(random_logits(shape, dtype));
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
  for (const GateConfig& config : configs()) {
    EXPECT_TRUE(at::equal(gate_coefficients(logits, config),
                          gate_coefficients(logits.contiguous(), config)));
    const Tensor leaf = wide.clone().requires_grad_(true);
    const Tensor a = gate_coefficients(leaf.transpose(1, 2), config);
    // The gradient that arrives is a transposed view as well.
    (a.transpose(1, 2) * w.transpose(1, 2)).sum().backward();
    EXPECT_TRUE(at::allclose(leaf.grad().transpose(1, 2),
                             gradient(logits.contiguous(), w, config)));
  }
}

TEST(Gate, ThreadsDoNotChangeValues) {
  const Tensor logits = random_logits({3000, 64}, at::kFloat);
  const Tensor w = at::randn({3000, 64});
  const int threads = at::get_num_threads();
  for (const GateConfig& config : configs()) {
    at::set_num_threads(1);
    const Tensor a = gate_coefficients(logits, config);
    const Tensor grad = gradient(logits, w, config);
    at::set_num_threads(3);
    EXPECT_TRUE(at::equal(gate_coefficients(logits, config), a));
    EXPECT_TRUE(at::equal(gradient(logits, w, config), grad));
  }
  at::set_num_threads(threads);
}

TEST(Gate, SoftmaxIsLibTorchsOfTheNormalisedLogits) {
  const Tensor logits = 3 * random_logits({50, 40}, at::kDouble);
  const Tensor z = at::layer_norm(logits, {40});
  EXPECT_TRUE(at::allclose(
      gate_coefficients(logits, {GateActivation::softmax, GateNorm::layer}),
      at::softmax(z, -1)));
  EXPECT_TRUE(at::allclose(
      gate_coefficients(logits, {GateActivation::softmax, GateNorm::none}),
      at::softmax(logits, -1)));
}

TEST(Gate, TopKIsSoftmaxOverTheLargest) {
  const Tensor logits = random_logits({30, 20}, at::kDouble);
  for (const std::int64_t k : {1, 2, 7, 19}) {
    const auto [values, indices] = logits.topk(k, -1);
    const Tensor expected =
        at::zeros_like(logits).scatter(-1, indices, at::softmax(values, -1));
    const Tensor a =
        gate_coefficients(logits, {GateActivation::top_k, GateNorm::none, k});
    EXPECT_TRUE(at::allclose(a, expected)) << k;
    EXPECT_TRUE(at::equal(a == 0, expected == 0)) << k;
  }
}

TEST(Gate, TopKOfAllExpertsIsSoftmax) {
  const Tensor logits = random_logits({30, 20}, at::kFloat);
  for (const auto norm : {GateNorm::layer, GateNorm::none}) {
    EXPECT_TRUE(
        at::equal(gate_coefficients(logits, {GateActivation::top_k, norm, 20}),
                  gate_coefficients(logits, {GateActivation::softmax, norm})));
  }
}

TEST(Gate, TopKTakesTheFirstOfEqualLogits) {
  const double row[] = {1, 3, 2, 1, 3, 2, 2, 0};
  const bool kept[] = {false, true, true, false, true, true, false, false};
  const Tensor logits = at::tensor(at::ArrayRef<double>(row));
  for (const auto norm : {GateNorm::layer, GateNorm::none}) {
    const Tensor a =
        gate_coefficients(logits, {GateActivation::top_k, norm, 4});
    for (int n = 0; n < 8; ++n) {
      EXPECT_EQ(a[n].item<double>() > 0, kept[n]) << n;
    }
    const Tensor equal =
        gate_coefficients(at::zeros({5, 9}), {GateActivation::top_k, norm, 2});
    EXPECT_TRUE(at::equal(equal.slice(1, 0, 2), at::full({5, 2}, 0.5)));
    EXPECT_EQ(equal.slice(1, 2).abs().max().item<float>(), 0);
  }
}

TEST(Gate, NotFiniteRowsBecomeNan) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const GateConfig& config : configs()) {
      SCOPED_TRACE(to_string(config));
      for (const double bad : {std::nan(""), infinity, -infinity}) {
        for (const std::int64_t experts : {5, 16, 40}) {
          Tensor logits = random_logits({3, experts}, dtype);
          logits[1][2] = bad;
          const Tensor nan = gate_coefficients(logits, config).isnan().sum(-1);
          const bool masked = bad == -infinity && config.norm == GateNorm::none;
          EXPECT_EQ(nan[0].item<std::int64_t>(), 0);
          EXPECT_EQ(nan[1].item<std::int64_t>(), masked ? 0 : experts) << bad;
          EXPECT_EQ(nan[2].item<std::int64_t>(), 0);
        }
      }
    }
  }
}

TEST(Gate, MaskedExpertsGetNothing) {
  Tensor logits = random_logits({4, 12}, at::kDouble);
  const Tensor shorter = logits.slice(1, 0, 9).clone();
  logits.slice(1, 9).fill_(-std::numeric_limits<double>::infinity());
  for (const auto activation : kActivations) {
    // More than there are finite logits.
    const GateConfig config{activation, GateNorm::none, 11};
    const GateConfig of_nine{activation, GateNorm::none, 9};
    const Tensor a = gate_coefficients(logits, config);
    EXPECT_TRUE(
        at::allclose(a.slice(1, 0, 9), gate_coefficients(shorter, of_nine)));
    EXPECT_EQ(a.slice(1, 9).abs().max().item<double>(), 0);
  }
}

TEST(Gate, GradientOutsideTheSupportIsNotRead) {
  const Tensor logits = 2 * random_logits({6, 32}, at::kDouble);
  for (const GateConfig& config : configs()) {
    const Tensor outside = gate_coefficients(logits, config) == 0;
    const Tensor w = at::randn({6, 32}, at::kDouble);
    const auto with = [&](double value) {
      const Tensor leaf = logits.clone().requires_grad_(true);
      gate_coefficients(leaf, config).backward(w.masked_fill(outside, value));
      return leaf.grad();
    };
    EXPECT_TRUE(at::equal(with(0), with(std::nan("")))) << to_string(config);
  }
}

TEST(Gate, NarrowTypesAreFloatRounded) {
  const Tensor logits = random_logits({20, 48}, at::kBFloat16);
  for (const GateConfig& config : configs()) {
    EXPECT_TRUE(at::equal(
        gate_coefficients(logits, config),
        gate_coefficients(logits.to(at::kFloat), config).to(at::kBFloat16)));
  }
}

/// a, dx and dG of Σ a∘w.
std::vector<Tensor> run(const Tensor& x,
                        const Tensor& weight,
                        const Tensor& w,
                        const GateConfig& config) {
  const Tensor x_leaf = x.clone().requires_grad_(true);
  const Tensor weight_leaf = weight.clone().requires_grad_(true);
  const Tensor a = gate(x_leaf, weight_leaf, config, GemmLibrary::mkl);
  a.backward(w);
  return {a.detach(), x_leaf.grad(), weight_leaf.grad()};
}

TEST(Gate, WideInputsEqualRoundingThemFirst) {
  at::manual_seed(4);
  const Tensor x = at::randn({64, 24});
  const Tensor weight = at::randn({24, 16}).to(at::kBFloat16);
  const Tensor w = at::randn({64, 16}).to(at::kBFloat16);
  for (const GateConfig& config : configs()) {
    const auto wide = run(x, weight, w, config);
    const auto rounded = run(x.to(at::kBFloat16), weight, w, config);
    EXPECT_EQ(wide[0].scalar_type(), at::kBFloat16);
    EXPECT_EQ(wide[1].scalar_type(), at::kFloat);
    EXPECT_EQ(wide[2].scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(wide[0], rounded[0]));
    EXPECT_TRUE(at::equal(wide[1], rounded[1].to(at::kFloat)));
    EXPECT_TRUE(at::equal(wide[2], rounded[2]));
  }
}

TEST(Gate, EqualsTheProductAndItsCoefficients) {
  at::manual_seed(5);
  const Tensor x = at::randn({64, 24}, at::kDouble);
  const Tensor weight = at::randn({24, 16}, at::kDouble);
  const Tensor w = at::randn({64, 16}, at::kDouble);
  for (const GateConfig& config : configs()) {
    const auto found = run(x, weight, w, config);
    const Tensor x_leaf = x.clone().requires_grad_(true);
    const Tensor weight_leaf = weight.clone().requires_grad_(true);
    const Tensor a = gate_coefficients(at::mm(x_leaf, weight_leaf), config);
    a.backward(w);
    EXPECT_TRUE(at::allclose(found[0], a));
    EXPECT_TRUE(at::allclose(found[1], x_leaf.grad()));
    EXPECT_TRUE(at::allclose(found[2], weight_leaf.grad()));
  }
}

TEST(Gate, WrongInputsAreErrors) {
  EXPECT_THROW(gate_coefficients(at::zeros({})), InternalError);
  EXPECT_THROW(gate_coefficients(at::zeros({3, 0})), InternalError);
  for (const GateConfig& config : configs()) {
    EXPECT_THROW(gate_coefficients(at::zeros({3, 4}, at::kInt), config),
                 InternalError);
  }
  for (const std::int64_t k : {-1, 0, 5}) {
    EXPECT_THROW(gate_coefficients(at::zeros({3, 4}),
                                   {GateActivation::top_k, GateNorm::none, k}),
                 InputError);
  }
  EXPECT_THROW(gate_coefficients(at::zeros({3, 4}), {.norm = GateNorm::batch}),
               InternalError);
  EXPECT_THROW(gate(at::zeros({3, 4}), at::zeros({5, 2}), {}, GemmLibrary::mkl),
               InternalError);
}

TEST(Gate, ConfigsPrintThemselves) {
  EXPECT_EQ(to_string(GateConfig{}), "entmax15, layer norm");
  EXPECT_EQ(to_string(GateConfig{GateActivation::top_k, GateNorm::none, 4}),
            "top_k (k = 4), no norm");
}

}  // namespace
}  // namespace mumoe
