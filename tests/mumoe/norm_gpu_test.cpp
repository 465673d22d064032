// Needs a GPU (label gpu): the norm of the residual stream there against
// LibTorch's on the CPU.
#include "mumoe/norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/mumoe/random_layers.h"

namespace mumoe {
namespace {

using testing::numbers;
using Tensors = std::vector<at::Tensor>;

/// Values and gradients of s, s rounded and LN(s), in fp64 on the CPU.
Tensors run(at::Device on, at::ScalarType dtype, at::IntArrayRef shape) {
  const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const auto leaf = [&](at::IntArrayRef sizes, int stream, at::ScalarType to) {
    return numbers(sizes, stream).to(on, to).requires_grad_(true);
  };
  const at::Tensor x = leaf(shape, 1, wide), y = leaf(shape, 2, dtype);
  const at::Tensor w = leaf({shape[1]}, 3, wide), b = leaf({shape[1]}, 4, wide);
  Normed n;
  if (on.is_cuda()) {
    EXPECT_TRUE(fuses_residual_norm(on, wide, dtype, shape[1]));
    n = residual_norm(x, y, w, b, dtype, true);
  } else {
    n.sum = x + y;
    n.rounded = n.sum.to(dtype);
    n.result = at::layer_norm(n.sum, {shape[1]}, w, b).to(dtype);
  }
  const auto weighed = [&](const at::Tensor& t, int stream) {
    return (t * numbers(shape, stream).to(on, t.scalar_type())).sum();
  };
  (weighed(n.sum, 5) + weighed(n.rounded, 6) + weighed(n.result, 7)).backward();
  Tensors
      all{n.sum, n.rounded, n.result, x.grad(), y.grad(), w.grad(), b.grad()};
  for (auto& t : all) t = t.detach().to(at::kCPU, at::kDouble);
  return all;
}

TEST(NormGpu, EqualsTheCpu) {
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-12},
                                         std::pair{at::kFloat, 1e-5},
                                         std::pair{at::kBFloat16, 1e-2}}) {
    for (const std::int64_t width : {8, 23, 768, 1600}) {
      for (const std::int64_t rows : {1, 1000}) {
        const std::int64_t shape[] = {rows, width};
        const Tensors gpu = run(at::kCUDA, dtype, shape);
        const Tensors cpu = run(at::kCPU, at::kDouble, shape);
        for (std::size_t i = 0; i < cpu.size(); ++i) {
          EXPECT_LT((gpu[i] - cpu[i]).norm().item<double>(),
                    tolerance * (1e-3 + cpu[i].norm().item<double>()))
              << i << " " << dtype << " " << rows << "x" << width;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mumoe
