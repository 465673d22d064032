// Matrix products of both libraries, the linear layer and GELU against
// LibTorch's own.
#include "mumoe/gemm.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"
#include "dist/torch_text.h"
#include "mumoe/gelu.h"
#include "tests/mumoe/random_layers.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using at::Tensor;
using testing::numbers;
using testing::relative_error;

/// Those that there are on this CPU.
std::vector<GemmLibrary> libraries() {
  std::vector<GemmLibrary> found = {GemmLibrary::mkl};
  if (offers(GemmLibrary::onednn)) found.push_back(GemmLibrary::onednn);
  return found;
}
constexpr at::ScalarType kTypes[] = {at::kFloat, at::kDouble, at::kBFloat16};

/// Of the norm: bf16 is rounded once, by up to 1/256 of a value.
double tolerance(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-13 : dtype == at::kFloat ? 1e-6 : 1.01 / 256;
}

/// Three sizes; the last ones are not small, and go to oneDNN where it is
/// asked for.
constexpr std::int64_t kSizes[][3] = {{1, 1, 1},
                                      {1, 5, 3},
                                      {4, 1, 3},
                                      {4, 5, 1},
                                      {0, 5, 3},
                                      {4, 5, 0},
                                      {4, 0, 3},
                                      {7, 9, 11},
                                      {64, 64, 64},
                                      {1, 600, 400},
                                      {300, 1, 600},
                                      {500, 300, 1},
                                      {97, 61, 33}};

/// The same values as a row-major matrix, transposed, with a stride along the
/// rows, as every other column, and as a part of a larger matrix.
std::vector<Tensor> layouts(const Tensor& m) {
  const auto rows = m.size(0), columns = m.size(1);
  const Tensor strided = at::zeros({rows, 2 * columns}, m.options());
  strided.slice(1, 0, std::nullopt, 2).copy_(m);
  const Tensor part = at::zeros({rows + 2, columns + 3}, m.options());
  part.slice(0, 1, 1 + rows).slice(1, 2, 2 + columns).copy_(m);
  return {
      m,
      m.t().contiguous().t(),
      strided.slice(1, 0, std::nullopt, 2),
      part.slice(0, 1, 1 + rows).slice(1, 2, 2 + columns),
      part.t().contiguous().t().slice(0, 1, 1 + rows).slice(1, 2, 2 + columns)};
}

template <class F>
void each_product(F f) {
  for (const auto dtype : kTypes) {
    for (const auto& [m, k, n] : kSizes) {
      const Tensor a = numbers({m, k}, 1).to(dtype);
      const Tensor b = numbers({k, n}, 2).to(dtype);
      for (const auto library : libraries()) {
        SCOPED_TRACE(fmt::format("{} x {} x {}, {}, {}",
                                 m,
                                 k,
                                 n,
                                 dtype,
                                 to_string(library)));
        f(a, b, library);
      }
    }
  }
}

TEST(Gemm, EqualsTheProductInFp64ForEveryLayout) {
  each_product([](const Tensor& a, const Tensor& b, GemmLibrary library) {
    const Tensor expected = at::mm(a.to(at::kDouble), b.to(at::kDouble));
    for (const Tensor& left : layouts(a)) {
      for (const Tensor& right : layouts(b)) {
        const Tensor found = mm(left, right, library);
        ASSERT_TRUE(found.is_contiguous());
        ASSERT_EQ(found.scalar_type(), a.scalar_type());
        ASSERT_EQ(found.sizes(), expected.sizes());
        ASSERT_LE(relative_error(found, expected), tolerance(a.scalar_type()))
            << left.strides() << " " << right.strides();
      }
    }
  });
}

TEST(Gemm, ExpandedMatricesAreMultipliedToo) {
  const Tensor row = numbers({1, 96}, 3).to(at::kFloat);
  const Tensor b = numbers({96, 80}, 4).to(at::kFloat);
  for (const auto library : libraries()) {
    const Tensor expected = at::mm(row, b).expand({64, 80});
    EXPECT_LT(relative_error(mm(row.expand({64, 96}), b, library), expected),
              1e-6);
    EXPECT_LT(relative_error(mm(b.t(), row.t().expand({96, 64}), library),
                             expected.t()),
              1e-6);
  }
}

TEST(Gemm, StoresOrAdds) {
  each_product([](const Tensor& a, const Tensor& b, GemmLibrary library) {
    const auto dtype = a.scalar_type();
    const Tensor held = numbers({a.size(0), b.size(1)}, 5).to(dtype);
    const Tensor product = at::mm(a.to(at::kDouble), b.to(at::kDouble));
    const Tensor stored = at::full_like(held, std::nan(""));
    mm_into(stored, a, b, false, library);
    EXPECT_LE(relative_error(stored, product), tolerance(dtype));
    for (const Tensor& left : layouts(a)) {
      const Tensor added = held.clone();
      mm_into(added, left, b, true, library);
      const Tensor sum = held.to(at::kDouble) + product;
      ASSERT_LE(relative_error(added, sum), tolerance(dtype));
      if (dtype != at::kBFloat16 || sum.numel() == 0) continue;
      // Rounded once: half a unit of each element, not of its two parts.
      const Tensor room =
          sum.abs() / 256 + 1e-5 * product.abs().max().item<double>();
      EXPECT_TRUE(((added - sum).abs() <= room).all().item<bool>());
    }
  });
}

TEST(Gemm, LibrariesRunTwiceAlike) {
  for (const auto dtype : kTypes) {
    const Tensor a = numbers({97, 61}, 1).to(dtype);
    const Tensor b = numbers({61, 33}, 2).to(dtype);
    for (const auto library : libraries()) {
      EXPECT_TRUE(at::equal(mm(a, b, library), mm(a, b, library)));
    }
  }
  EXPECT_EQ(preferred_gemm_library(), preferred_gemm_library());
  EXPECT_TRUE(offers(preferred_gemm_library()));
}

TEST(Gemm, WhatDoesNotFitIsRefused) {
  for (const auto library : libraries()) {
    for (const std::int64_t n : {4, 80}) {
      const Tensor a = at::ones({n, n}, at::kFloat);
      const Tensor wide = at::ones({n, n}, at::kDouble);
      const auto out = at::empty({n, n}, at::kFloat);
      EXPECT_THROW(mm(a, at::ones({n + 1, n}), library), InternalError);
      EXPECT_THROW(mm(a, at::ones({n, n, n}), library), InternalError);
      EXPECT_THROW(mm_into(at::empty({n, n + 1}), a, a, false, library),
                   InternalError);
      EXPECT_THROW(
          mm_into(at::empty({n, 2 * n}).slice(1, 0, n), a, a, false, library),
          InternalError);
      EXPECT_ANY_THROW(mm(a, wide, library));
      EXPECT_ANY_THROW(mm(wide, a, library));
      EXPECT_ANY_THROW(mm_into(out, wide, wide, false, library));
      EXPECT_ANY_THROW(
          mm_into(at::empty({n, n}, at::kDouble), a, a, false, library));
    }
  }
}

/// Gradients of Σ y∘w with respect to leaves.
std::vector<Tensor> gradients(const Tensor& y,
                              const Tensor& w,
                              const std::vector<Tensor>& leaves) {
  (y * w).sum().backward();
  std::vector<Tensor> found;
  for (const Tensor& leaf : leaves) {
    found.push_back(leaf.grad());
    leaf.mutable_grad() = Tensor();
  }
  return found;
}

TEST(Linear, EqualsLibTorchForwardAndBackward) {
  for (const auto dtype : kTypes) {
    for (const auto& shape :
         std::vector<std::vector<std::int64_t>>{{60}, {50, 60}, {5, 9, 60}}) {
      for (const bool with_bias : {false, true}) {
        for (const auto library : libraries()) {
          const auto leaf = [&](at::IntArrayRef s, std::uint64_t stream) {
            return numbers(s, stream).to(dtype).requires_grad_(true);
          };
          const Tensor x = leaf(shape, 1), weight = leaf({70, 60}, 2);
          const Tensor bias = with_bias ? leaf({70}, 3) : Tensor();
          std::vector<Tensor> leaves{x, weight};
          if (with_bias) leaves.push_back(bias);
          const Tensor expected = at::linear(x, weight, bias);
          const Tensor y = linear(x, weight, bias, library);
          ASSERT_EQ(y.sizes(), expected.sizes());
          EXPECT_LT(relative_error(y, expected), 2 * tolerance(dtype));
          const Tensor w = numbers(y.sizes(), 4).to(dtype);
          const auto right = gradients(expected, w, leaves);
          const auto found = gradients(y, w, leaves);
          for (std::size_t i = 0; i < leaves.size(); ++i) {
            EXPECT_LT(relative_error(found[i], right[i]), 2 * tolerance(dtype))
                << i << " " << dtype << " " << at::IntArrayRef(shape);
          }
        }
      }
    }
  }
}

TEST(Linear, TakesAnyStridesAndComputesWhatIsAskedFor) {
  const Tensor x = numbers({60, 9, 5}, 1).transpose(0, 2);  // [5, 9, 60]
  const Tensor weight = numbers({60, 70}, 2).t();
  const Tensor bias = numbers({140}, 3).slice(0, 0, std::nullopt, 2);
  const Tensor expected = at::linear(x, weight, bias);
  const Tensor only = bias.detach().clone().requires_grad_(true);
  const Tensor y = linear(x, weight, only, GemmLibrary::mkl);
  EXPECT_LT(relative_error(y, expected), 1e-13);
  EXPECT_LT(relative_error(linear(x, weight, bias, GemmLibrary::mkl), expected),
            1e-13);
  // A gradient that arrives transposed.
  const Tensor w = numbers({70, 9, 5}, 4);
  (y.transpose(0, 2) * w).sum().backward();
  EXPECT_LT(relative_error(only.grad(), w.sum({1, 2})), 1e-13);
}

TEST(Gelu, EqualsLibTorchForwardAndBackward) {
  for (const auto dtype : kTypes) {
    for (const auto& shape :
         std::vector<std::vector<std::int64_t>>{{},
                                                {0},
                                                {3},
                                                {7, 9},
                                                {3, 50, 400}}) {
      const Tensor x = (2 * numbers(shape, 1)).to(dtype).requires_grad_(true);
      const Tensor w = numbers(shape, 2).to(dtype);
      const Tensor expected = at::gelu(x), y = mumoe::gelu(x);
      EXPECT_EQ(y.sizes(), x.sizes());
      const double close = dtype == at::kDouble  ? 1e-15
                           : dtype == at::kFloat ? 2e-7
                                                 : 3e-3;
      EXPECT_LE(relative_error(y, expected), close) << dtype;
      const Tensor right = gradients(expected, w, {x})[0];
      const Tensor found = gradients(y, w, {x})[0];
      EXPECT_LE(relative_error(found, right), 2 * close) << dtype;
    }
  }
}

// The rest of the promise takes a GPU: gemm_gpu_test.cpp.
TEST(Gemm, CuBlasIsToldToAddInFp32) {
  keep_fp32_sums();
  EXPECT_NE(at::globalContext().allowBF16ReductionCuBLAS(),
            at::CuBLASReductionOption::AllowReducedPrecisionWithSplitK);
}

TEST(Gelu, TakesAnyStrides) {
  const Tensor x = numbers({8, 30, 20}, 1).permute({2, 0, 1});
  for (const bool contiguous : {false, true}) {
    const Tensor leaf = contiguous ? x.contiguous().requires_grad_(true)
                                   : x.detach().requires_grad_(true);
    EXPECT_LT(relative_error(mumoe::gelu(leaf), at::gelu(x)), 1e-15);
    // Gradients that arrive contiguous, transposed, expanded and in parts.
    const Tensor w = numbers({20, 8, 30}, 2);
    const Tensor columns = numbers({20, 8, 60}, 3);
    const std::function<Tensor(const Tensor&)> losses[] = {
        [&](const Tensor& y) { return (y * w).sum(); },
        [&](const Tensor& y) {
          return (y.transpose(0, 2) * w.transpose(0, 2).contiguous()).sum();
        },
        [&](const Tensor& y) { return y.sum(); },
        [&](const Tensor& y) {
          return (at::cat({y, y}, 2) * columns).sum();
        }};
    for (const auto& loss : losses) {
      const auto gradient = [&](const Tensor& y) {
        loss(y).backward();
        const Tensor found = leaf.grad();
        leaf.mutable_grad() = Tensor();
        return found;
      };
      const Tensor right = gradient(at::gelu(leaf));
      EXPECT_LT(relative_error(gradient(mumoe::gelu(leaf)), right), 1e-14);
    }
  }
}

}  // namespace
}  // namespace mumoe
