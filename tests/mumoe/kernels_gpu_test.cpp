// Needs a GPU (label gpu): the gate there against the gate on the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "mumoe/gate.h"

namespace mumoe {
namespace {

using at::Tensor;

struct Result {
  Tensor coefficients;
  Tensor grad;
};

/// Coefficients, and the gradient of Σ a∘w, back on the CPU in fp64.
Result run(const Tensor& logits,
           const Tensor& w,
           GateNorm norm,
           at::Device on) {
  const Tensor leaf = logits.to(on).detach().clone().requires_grad_(true);
  const Tensor a = gate_coefficients(leaf, {.norm = norm});
  (a * w.to(on)).sum().backward();
  return {a.detach().to(at::kCPU, at::kDouble),
          leaf.grad().to(at::kCPU, at::kDouble)};
}

void expect_cpu_values(at::ScalarType dtype, double tolerance) {
  at::manual_seed(5);
  for (const std::int64_t experts : {1,
                                     5,
                                     32,
                                     33,
                                     64,
                                     100,
                                     128,
                                     250,
                                     256,
                                     500,
                                     512,
                                     513,
                                     1000,
                                     1024,
                                     1025,
                                     4096,
                                     5003}) {
    for (const std::int64_t rows :
         {std::int64_t{1}, std::int64_t{3}, 50'000 / (experts + 49)}) {
      for (const GateNorm norm : {GateNorm::layer, GateNorm::none}) {
        const Tensor logits = at::randn({rows, experts}).to(dtype);
        const Tensor w = at::randn({rows, experts}).to(dtype);
        const Result cpu = run(logits, w, norm, at::kCPU);
        const Result gpu = run(logits, w, norm, at::kCUDA);
        EXPECT_TRUE(at::allclose(gpu.coefficients,
                                 cpu.coefficients,
                                 tolerance,
                                 tolerance))
            << rows << "x" << experts;
        EXPECT_TRUE(
            at::allclose(gpu.grad, cpu.grad, 8 * tolerance, 8 * tolerance))
            << rows << "x" << experts;
      }
    }
  }
}

TEST(GateGpu, Float) {
  expect_cpu_values(at::kFloat, 2e-6);
}
TEST(GateGpu, Double) {
  expect_cpu_values(at::kDouble, 1e-12);
}
// One unit in the last of 8 bits, of values up to 1.
TEST(GateGpu, Bf16) {
  expect_cpu_values(at::kBFloat16, 1.0 / 128);
}

/// a, dx, dG and the running statistics, back on the CPU.
std::vector<Tensor> run_gate(const GateConfig& config, at::Device on) {
  at::manual_seed(6);
  const auto leaf = [&](at::IntArrayRef shape) {
    return at::randn(shape, at::kDouble).to(on).requires_grad_(true);
  };
  const Tensor x = leaf({200, 24}), weight = leaf({24, 40});
  const Tensor w = at::randn({200, 40}, at::kDouble).to(on);
  BatchStatistics statistics{.running_mean = at::zeros({40}, w.options()),
                             .running_var = at::ones({40}, w.options())};
  const Tensor a = gate(x, weight, config, GemmLibrary::mkl, &statistics);
  a.backward(w);
  std::vector<Tensor> result;
  for (const Tensor& tensor : {a.detach(),
                               x.grad(),
                               weight.grad(),
                               statistics.running_mean,
                               statistics.running_var}) {
    result.push_back(tensor.to(at::kCPU));
  }
  return result;
}

TEST(GateGpu, EveryNormAndActivation) {
  for (const auto activation : {GateActivation::entmax15,
                                GateActivation::softmax,
                                GateActivation::top_k}) {
    for (const auto norm : {GateNorm::layer, GateNorm::batch, GateNorm::none}) {
      const GateConfig config{activation, norm, 5};
      const auto gpu = run_gate(config, at::kCUDA);
      const auto cpu = run_gate(config, at::kCPU);
      for (std::size_t i = 0; i < cpu.size(); ++i) {
        EXPECT_TRUE(at::allclose(gpu[i], cpu[i], 1e-9, 1e-11))
            << to_string(config) << " " << i;
      }
    }
  }
}

TEST(GateGpu, UnalignedRows) {
  const Tensor all = at::randn({64 * 9 + 1});
  const Tensor w = at::randn({9, 64});
  const Tensor logits = all.slice(0, 1).view({9, 64});
  const Tensor on_gpu = all.to(at::kCUDA).slice(0, 1).view({9, 64});
  EXPECT_TRUE(at::allclose(gate_coefficients(on_gpu).to(at::kCPU),
                           gate_coefficients(logits),
                           2e-6,
                           2e-6));
}

TEST(GateGpu, NanEnds) {
  Tensor logits = at::randn({4, 256}, at::kCUDA);
  logits[1][3] = NAN;
  const Tensor nan = gate_coefficients(logits).to(at::kCPU).isnan().sum(-1);
  EXPECT_EQ(nan[0].item<std::int64_t>(), 0);
  EXPECT_EQ(nan[1].item<std::int64_t>(), 256);
}

}  // namespace
}  // namespace mumoe
