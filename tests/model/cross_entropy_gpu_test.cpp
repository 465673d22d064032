// Needs a GPU (label gpu): the output head there against the CPU's.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/cross_entropy.h"
#include "model/cross_entropy_fused.h"

namespace mumoe::model {
namespace {

struct Result {
  at::Tensor loss, dh, dw;
};

Result run(at::Device on, at::ScalarType dtype, std::int64_t vocab) {
  const std::int64_t tokens = 67, width = 16;
  const auto leaf = [&](const at::Tensor& values) {
    return values.to(on, dtype).requires_grad_(true);
  };
  const at::Tensor h =
      leaf(at::sin(at::arange(tokens * width, at::kDouble) * 1.7)
               .view({tokens, width}));
  const at::Tensor w =
      leaf(at::cos(at::arange(vocab * width, at::kDouble) * 0.3)
               .view({vocab, width}));
  const at::Tensor targets =
      (at::arange(tokens, at::kLong) * 7919 % vocab).to(on);
  const at::Tensor loss = linear_cross_entropy(h, w, targets, 0.25);
  (loss * 3).backward();
  const auto back = [](const at::Tensor& t) {
    return t.detach().to(at::kCPU, at::kDouble);
  };
  return {back(loss), back(h.grad()), back(w.grad())};
}

double error(const at::Tensor& found, const at::Tensor& expected) {
  return (found - expected).norm().item<double>() /
         expected.norm().item<double>();
}

// Vocabularies whose rows are and are not multiples of 16 bytes.
TEST(CrossEntropyGpu, EqualsTheCpu) {
  for (const std::int64_t vocab : {11, 5003, 5008}) {
    const Result exact = run(at::kCPU, at::kDouble, vocab);
    for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-10},
                                           std::pair{at::kFloat, 1e-5},
                                           std::pair{at::kBFloat16, 2e-2}}) {
      const Result found = run(at::kCUDA, dtype, vocab);
      EXPECT_LT(error(found.loss, exact.loss), tolerance) << vocab << dtype;
      EXPECT_LT(error(found.dh, exact.dh), tolerance) << vocab << dtype;
      EXPECT_LT(error(found.dw, exact.dw), tolerance) << vocab << dtype;
    }
  }
}

// In chunks that do not divide the tokens, over a vocabulary with padding.
TEST(CrossEntropyGpu, ChunksAddUp) {
  const auto options = at::TensorOptions(at::kDouble).device(at::kCUDA);
  const std::int64_t tokens = 29, width = 8, vocab = 40, rows = 37;
  const at::Tensor h =
      at::arange(tokens * width, options).mul_(1.7).sin_().view({tokens, -1});
  const at::Tensor w =
      at::arange(vocab * width, options).mul_(0.3).cos_().view({vocab, -1});
  const at::Tensor targets =
      at::arange(tokens, options.dtype(at::kLong)) * 7919 % rows;
  const auto run = [&](std::int64_t most) {
    return fused_cross_entropy(h,
                               w,
                               targets,
                               0.25,
                               true,
                               preferred_gemm_library(),
                               {0, rows, vocab},
                               {},
                               most);
  };
  EXPECT_EQ(fused_chunks(tokens, vocab, 1), tokens);
  EXPECT_EQ(fused_chunks(tokens, vocab, 10 * vocab), 3);
  const HeadPass whole = run(1 << 20);
  EXPECT_EQ(whole.weight.narrow(0, rows, 3).abs().max().item<double>(), 0);
  for (const std::int64_t most : {std::int64_t{1}, 10 * vocab}) {
    const HeadPass parts = run(most);
    for (const auto& [found, expected] : {std::pair{parts.loss, whole.loss},
                                          {parts.hidden, whole.hidden},
                                          {parts.weight, whole.weight}}) {
      EXPECT_LT(error(found.cpu(), expected.cpu()), 1e-13) << most;
    }
  }
}

TEST(CrossEntropyGpu, RepeatsItsBits) {
  const Result once = run(at::kCUDA, at::kBFloat16, 5003);
  const Result twice = run(at::kCUDA, at::kBFloat16, 5003);
  EXPECT_TRUE(at::equal(once.loss, twice.loss));
  EXPECT_TRUE(at::equal(once.dh, twice.dh));
  EXPECT_TRUE(at::equal(once.dw, twice.dw));
}

}  // namespace
}  // namespace mumoe::model
