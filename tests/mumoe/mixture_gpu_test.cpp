// Whole layers and blocks of every form on a GPU against the CPU, values and
// gradients.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mumoe/mixture.h"
#include "tests/mumoe/random_layers.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using testing::numbers;
using testing::random_factors;
using testing::relative_error;
using testing::tensors_of;
using Tensors = std::vector<at::Tensor>;

Factors on(Factors u, at::Device device, at::ScalarType dtype) {
  const auto move = [&](at::Tensor& t) {
    if (!t.defined()) return;
    t = t.to(device, dtype).detach().clone().requires_grad_(true);
  };
  for (auto& e : u.expert) move(e);
  for (at::Tensor* t : {&u.input, &u.input_bias, &u.core, &u.output}) move(*t);
  return u;
}

/// Output and gradients of a block with a norm, moved to the CPU.
Tensors run(const std::vector<Factors>& layers,
            at::Device device,
            at::ScalarType dtype,
            bool recompute) {
  std::vector<Factors> there;
  for (const auto& u : layers) there.push_back(on(u, device, dtype));
  const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const auto leaf = [&](const at::Tensor& t, at::ScalarType to) {
    return t.to(device, to).detach().clone().requires_grad_(true);
  };
  const at::Tensor x = leaf(numbers({37, 12}, 60), wide);
  const at::Tensor g = leaf(numbers({12, 32}, 61), dtype);
  const InputNorm norm{leaf(numbers({12}, 62), wide),
                       leaf(numbers({12}, 63), wide)};
  const at::Tensor a = gate(x, g, {}, GemmLibrary::mkl);
  const at::Tensor y = mixture(
      {a},
      x,
      norm,
      there,
      {.gemm = GemmLibrary::mkl, .support_only = true, .recompute = recompute});
  (y * numbers(y.sizes(), 64).to(device, dtype)).sum().backward();
  Tensors found{y, x.grad(), g.grad(), norm.weight.grad(), norm.bias.grad()};
  for (const auto& u : there) {
    for (const auto& t : tensors_of(u)) found.push_back(t.grad());
  }
  for (auto& t : found) t = t.detach().to(at::kCPU);
  return found;
}

TEST(MixtureOnGpu, EqualsTheCpu) {
  ASSERT_TRUE(at::hasCUDA()) << "these tests need a GPU";
  for (const auto form :
       {Form::cp, Form::tensor_ring, Form::tensor_train, Form::tucker}) {
    const LayerShape first{.form = form,
                           .inputs = 12,
                           .outputs = 20,
                           .experts = {32},
                           .ranks = form == Form::cp
                                        ? std::vector<std::int64_t>{23}
                                    : form == Form::tensor_train
                                        ? std::vector<std::int64_t>{1, 4, 19}
                                        : std::vector<std::int64_t>{3, 4, 19}};
    LayerShape second = first;
    second.inputs = 20;
    second.outputs = 12;
    const std::vector<Factors> layers{random_factors(first, 1),
                                      random_factors(second, 20)};
    const Tensors exact = run(layers, at::kCPU, at::kDouble, false);
    for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
      for (const bool recompute : {false, true}) {
        const Tensors cpu = run(layers, at::kCPU, dtype, recompute);
        const Tensors gpu = run(layers, at::kCUDA, dtype, recompute);
        for (std::size_t i = 0; i < cpu.size(); ++i) {
          // In bf16 hardly less near than the CPU comes.
          const double bound = dtype == at::kDouble ? 1e-10
                               : dtype == at::kFloat
                                   ? 1e-5
                                   : 1.5 * relative_error(cpu[i], exact[i]);
          EXPECT_LT(relative_error(gpu[i], exact[i]), bound)
              << to_string(form) << ", " << dtype << ", tensor " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mumoe
