// The GPU's gate on the CPU: gate.cu itself, compiled by g++.
#include <gtest/gtest.h>

#include "tests/fakes/cuda_emulation.h"
// After the emulation.
#include "mumoe/kernels/gate.cu"
#include "mumoe/kernels/gate.h"
#include "tests/mumoe/kernels_gate_oracle.h"

namespace mumoe::testing {
namespace {

using kernels::RowNorm;

using kernels::Bf16;

/// Forward and backward of `rows` rows against the CPU kernels. `offset` in
/// elements moves the arrays off 16-byte alignment.
template <class E>
void expect_cpu_values(std::int64_t rows,
                       std::int64_t experts,
                       RowNorm norm,
                       double tolerance,
                       int offset = 0) {
  const std::int64_t size = rows * experts;
  const auto logits = stored<E>(random_row(experts, size + offset, 1.5));
  const auto g = stored<E>(random_row(experts + 1, size + offset, 1));
  std::vector<E> expected(size), a(size + offset), grad(size + offset);
  std::vector<E> expected_grad(size);
  const E* from = logits.data() + offset;
  kernels::gate_kernels.row<E>(best_isa())
      .forward(nullptr, from, expected.data(), rows, experts, norm);
  kernels::cuda::gate_row.of<E>()
      .forward(nullptr, from, a.data() + offset, rows, experts, norm);
  kernels::gate_kernels.row<E>(best_isa())
      .backward(nullptr,
                from,
                expected.data(),
                g.data() + offset,
                expected_grad.data(),
                rows,
                experts,
                norm);
  std::copy(expected.begin(), expected.end(), grad.begin());
  std::vector<E> same(size + offset);
  std::copy(expected.begin(), expected.end(), same.begin() + offset);
  kernels::cuda::gate_row.of<E>().backward(nullptr,
                                           from,
                                           same.data() + offset,
                                           g.data() + offset,
                                           grad.data() + offset,
                                           rows,
                                           experts,
                                           norm);
  for (std::int64_t i = 0; i < size; ++i) {
    using kernels::load_value;
    ASSERT_NEAR(load_value(a[offset + i]), load_value(expected[i]), tolerance)
        << experts << " " << i;
    ASSERT_NEAR(load_value(grad[offset + i]),
                load_value(expected_grad[i]),
                8 * tolerance)
        << experts << " " << i;
  }
}

// Every row type: 1 to 32 values a thread, whole packs or not, and blocks.
constexpr std::int64_t kSizes[] =
    {1, 5, 31, 32, 48, 64, 100, 128, 250, 256, 500, 512, 1000, 1024, 1030};

TEST(GateCudaEmulated, Float) {
  for (const std::int64_t experts : kSizes) {
    for (const RowNorm norm : {RowNorm::layer, RowNorm::none}) {
      expect_cpu_values<float>(5, experts, norm, 1e-6);
    }
  }
}

TEST(GateCudaEmulated, Double) {
  for (const std::int64_t experts : kSizes) {
    expect_cpu_values<double>(5, experts, RowNorm::layer, 1e-13);
  }
}

TEST(GateCudaEmulated, Bf16) {
  for (const std::int64_t experts : kSizes) {
    // A bf16 has 8 bits.
    expect_cpu_values<Bf16>(5, experts, RowNorm::layer, 1.0 / 256);
  }
}

TEST(GateCudaEmulated, UnalignedRows) {
  expect_cpu_values<float>(3, 64, RowNorm::layer, 1e-6, 1);
  expect_cpu_values<Bf16>(3, 256, RowNorm::layer, 1.0 / 256, 3);
}

TEST(GateCudaEmulated, NoRows) {
  kernels::cuda::gate_row.of<float>()
      .forward(nullptr, nullptr, nullptr, 0, 8, RowNorm::layer);
}

TEST(GateCudaEmulated, NotFiniteRowsBecomeNanAndEnd) {
  for (const std::int64_t experts : {32, 256, 1500}) {
    for (const float bad : {NAN, INFINITY}) {
      auto rows = stored<float>(random_row(3, 2 * experts, 1));
      rows[experts / 2] = bad;
      std::vector<float> a(rows.size());
      kernels::cuda::gate_row.of<float>()
          .forward(nullptr, rows.data(), a.data(), 2, experts, RowNorm::none);
      for (std::int64_t n = 0; n < experts; ++n) {
        ASSERT_TRUE(std::isnan(a[n]));
        ASSERT_FALSE(std::isnan(a[experts + n]));
      }
    }
  }
}

void empty_kernel() {}

// LibTorch asks for the last error after its own launches.
TEST(CudaLaunch, AFailureIsNotLeftForTheNextLaunch) {
  for (const int threads : {0, 1025}) {
    try {
      kernels::launch("empty", empty_kernel, 1, threads, nullptr);
      ADD_FAILURE() << threads << " threads were launched";
    } catch (const InternalError& error) {
      EXPECT_NE(std::string(error.what())
                    .find("empty: CUDA launch failed: invalid configuration"),
                std::string::npos)
          << error.what();
    }
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }
  EXPECT_NO_THROW(kernels::launch("empty", empty_kernel, 1, 32, nullptr));
}

void diverging_kernel() {
  if (threadIdx.x == 7) return;
  __syncthreads();
}

TEST(CudaEmulation, ABarrierThatOneThreadMissesIsAnError) {
  cudaLaunchConfig_t config;
  config.blockDim = dim3(64);
  EXPECT_THROW(cudaLaunchKernelEx(&config, diverging_kernel), std::logic_error);
}

}  // namespace
}  // namespace mumoe::testing
