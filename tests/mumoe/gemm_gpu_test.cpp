// Needs a GPU (label gpu): what is promised of products.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mumoe/gemm.h"
#include "mumoe/gemm_rate.h"
#include "tests/support/gpu.h"

namespace mumoe {
namespace {

using testing::gpu;

// Products so long that cuBLAS cuts them into parts: each result is within the
// one rounding that storing it takes. Parts that were added in bf16 would be
// rounded at every addition.
TEST(GemmGpu, SumsOfBf16AreInFp32) {
  const std::int64_t inner = 1 << 16;
  at::manual_seed(3);
  const at::Tensor a = at::rand({64, inner}).to(at::kBFloat16);
  const at::Tensor b = at::rand({inner, 64}).to(at::kBFloat16);
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  for (const bool accumulate : {false, true}) {
    const at::Tensor out =
        at::zeros({64, 64}, at::TensorOptions(at::kBFloat16).device(gpu()));
    mm_into(out, a.to(gpu()), b.to(gpu()), accumulate, GemmLibrary::mkl);
    const at::Tensor error =
        ((out.to(at::kCPU, at::kDouble) - exact) / exact).abs();
    EXPECT_LE(error.max().item<double>(), 1.02 / 256);
  }
}

TEST(GemmGpu, LinearEqualsTheCpu) {
  at::manual_seed(4);
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-12},
                                         std::pair{at::kFloat, 1e-4},
                                         std::pair{at::kBFloat16, 0.05}}) {
    const at::Tensor x = at::randn({3, 37, 50}).to(dtype);
    const at::Tensor w = at::randn({23, 50}).to(dtype);
    const at::Tensor bias = at::randn({23}).to(dtype);
    std::vector<at::Tensor> found[2];
    for (const bool there : {false, true}) {
      const at::Device device = there ? gpu() : at::Device(at::kCPU);
      std::vector<at::Tensor> leaves;
      for (const at::Tensor& t : {x, w, bias}) {
        leaves.push_back(t.to(device).detach().clone().requires_grad_(true));
      }
      const at::Tensor y =
          linear(leaves[0], leaves[1], leaves[2], GemmLibrary::mkl);
      y.backward(at::ones_like(y));
      found[there] = {y.detach().to(at::kCPU)};
      for (const at::Tensor& leaf : leaves) {
        found[there].push_back(leaf.grad().to(at::kCPU));
      }
    }
    for (std::size_t i = 0; i < found[0].size(); ++i) {
      EXPECT_TRUE(at::allclose(found[1][i], found[0][i], tolerance, tolerance))
          << dtype << " " << i;
    }
  }
}

TEST(GemmGpu, RatesAreOfTheDevice) {
  const auto rate = measure_gemm_rates({{256, 256, 256}},
                                       {{at::kBFloat16, GemmLibrary::mkl}},
                                       gpu(),
                                       {.rounds = 2});
  EXPECT_GT(rate[0].peak, 0);
  EXPECT_EQ(random_operand(9, 30, at::kBFloat16, gpu()).device(), gpu());
}

}  // namespace
}  // namespace mumoe
