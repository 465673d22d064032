#include "mumoe/cp.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "mumoe/gate.h"

namespace mumoe {
namespace {

/// Normal numbers, the same in every run.
at::Tensor numbers(at::IntArrayRef shape, std::uint64_t stream) {
  const CounterRandom random(5, Purpose::test, stream);
  at::Tensor t = at::empty(shape, at::kDouble);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    t.data_ptr<double>()[i] = random.normal(i);
  }
  return t;
}

CpFactors factors(const std::vector<std::int64_t>& experts,
                  std::int64_t inputs,
                  std::int64_t outputs,
                  std::int64_t rank,
                  bool bias,
                  std::uint64_t stream) {
  CpFactors u;
  for (const auto n : experts) u.expert.push_back(numbers({n, rank}, stream++));
  u.input = numbers({inputs, rank}, stream++);
  if (bias) u.input_bias = numbers({rank}, stream++);
  u.output = numbers({outputs, rank}, stream++);
  return u;
}

std::vector<at::Tensor> sparse_gates(const std::vector<std::int64_t>& experts,
                                     std::int64_t tokens) {
  std::vector<at::Tensor> a;
  for (const auto n : experts) {
    a.push_back(gate_coefficients(3 * numbers({tokens, n}, 900 + a.size()),
                                  {.norm = GateNorm::none}));
  }
  return a;
}

/// Equation 1 with the expert tensor written out, one expert after another.
at::Tensor materialised(const std::vector<at::Tensor>& a,
                        const at::Tensor& z,
                        const CpFactors& u) {
  at::Tensor y = at::zeros({z.size(0), u.output.size(0)}, z.options());
  const std::int64_t first = a[0].size(1);
  const std::int64_t second = a.size() > 1 ? a[1].size(1) : 1;
  for (std::int64_t n = 0; n < first; ++n) {
    for (std::int64_t m = 0; m < second; ++m) {
      at::Tensor row = u.expert[0][n];
      at::Tensor weight = a[0].select(1, n);
      if (a.size() > 1) {
        row = row * u.expert[1][m];
        weight = weight * a[1].select(1, m);
      }
      const at::Tensor w_IO = at::mm(u.input * row, u.output.t());
      at::Tensor out = at::mm(z, w_IO);
      if (u.input_bias.defined()) {
        out = out + at::mv(u.output, row * u.input_bias);
      }
      y += weight.unsqueeze(1) * out;
    }
  }
  return y;
}

TEST(Cp, EqualsTheMaterialisedMixture) {
  for (const auto& experts :
       std::vector<std::vector<std::int64_t>>{{1}, {7}, {16}, {5, 3}}) {
    for (const bool bias : {false, true}) {
      const auto u = factors(experts, 6, 9, 4, bias, 10);
      const auto a = sparse_gates(experts, 11);
      const auto z = numbers({11, 6}, 99);
      EXPECT_TRUE(
          at::allclose(cp_layer(a, z, u), materialised(a, z, u), 1e-12, 1e-12));
    }
  }
}

TEST(Cp, BlockIsTwoLayersWithGeluBetween) {
  const auto first = factors({6}, 5, 12, 4, true, 10);
  const auto second = factors({6}, 12, 5, 4, true, 20);
  const auto a = sparse_gates({6}, 8);
  const auto z = numbers({8, 5}, 99);
  const auto expected =
      materialised(a, at::gelu(materialised(a, z, first)), second);
  EXPECT_TRUE(
      at::allclose(cp_block(a, z, first, second), expected, 1e-12, 1e-12));
}

/// Compares the gradient of Σ w∘f() with central differences, for every
/// element of every tensor.
void check_gradients(const std::function<at::Tensor()>& f,
                     const std::vector<at::Tensor>& tensors) {
  for (at::Tensor t : tensors) t.requires_grad_(true);
  const at::Tensor y = f();
  const at::Tensor w = numbers(y.sizes(), 777);
  (y * w).sum().backward();
  at::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  for (const at::Tensor& t : tensors) {
    ASSERT_TRUE(t.grad().defined());
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      double& value = t.data_ptr<double>()[i];
      const double kept = value;
      value = kept + kStep;
      const double above = (f() * w).sum().item<double>();
      value = kept - kStep;
      const double below = (f() * w).sum().item<double>();
      value = kept;
      const double expected = (above - below) / (2 * kStep);
      EXPECT_NEAR(t.grad().flatten()[i].item<double>(),
                  expected,
                  1e-6 * (1 + std::abs(expected)));
    }
  }
}

std::vector<at::Tensor> all_of(const CpFactors& u) {
  std::vector<at::Tensor> all = u.expert;
  all.insert(all.end(), {u.input, u.output});
  if (u.input_bias.defined()) all.push_back(u.input_bias);
  return all;
}

TEST(Cp, GradientsEqualFiniteDifferences) {
  for (const auto& experts :
       std::vector<std::vector<std::int64_t>>{{4}, {3, 2}, {2, 2, 2}}) {
    for (const bool bias : {false, true}) {
      const auto first = factors(experts, 3, 5, 2, bias, 10);
      const auto second = factors(experts, 5, 4, 2, bias, 30);
      std::vector<at::Tensor> a;
      for (const auto n : experts) a.push_back(numbers({3, n}, 50 + a.size()));
      const at::Tensor z = numbers({3, 3}, 99);
      auto tensors = all_of(first);
      tensors.insert(tensors.end(), a.begin(), a.end());
      tensors.push_back(z);
      check_gradients([&] { return cp_layer(a, z, first); }, tensors);
      for (at::Tensor t : tensors) t.mutable_grad().reset();
      const auto more = all_of(second);
      tensors.insert(tensors.end(), more.begin(), more.end());
      check_gradients([&] { return cp_block(a, z, first, second); }, tensors);
    }
  }
}

TEST(Cp, ShapesThatDoNotFitAreNamed) {
  const auto u = factors({4}, 3, 5, 2, true, 10);
  EXPECT_THROW(cp_layer(sparse_gates({4}, 2), numbers({2, 4}, 1), u),
               InternalError);
  EXPECT_THROW(cp_layer(sparse_gates({5}, 2), numbers({2, 3}, 1), u),
               InternalError);
}

}  // namespace
}  // namespace mumoe
