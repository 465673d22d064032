#include "launch/gpu_arithmetic.h"

#include <ATen/Context.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/environment.h"
#include "tests/support/errors.h"

namespace mumoe::launch {
namespace {

constexpr const char* kWorkspace = "CUBLAS_WORKSPACE_CONFIG";

/// LibTorch's state, which the other tests find as it was.
class GpuArithmetic : public ::testing::Test {
 protected:
  ~GpuArithmetic() override {
    torch_.setDeterministicAlgorithms(false, false);
    torch_.setDeterministicFillUninitializedMemory(true);
    torch_.setSDPUseCuDNN(true);
  }

  at::Context& torch_ = at::globalContext();
};

TEST_F(GpuArithmetic, OneOrderOfSums) {
  const testing::SetVariable workspace(kWorkspace, ":4096:8");
  set_gpu_arithmetic(true);
  EXPECT_TRUE(torch_.deterministicAlgorithms());
  EXPECT_FALSE(torch_.deterministicAlgorithmsWarnOnly());
  EXPECT_FALSE(torch_.userEnabledCuDNNSDP());
  EXPECT_TRUE(torch_.userEnabledFlashSDP());
  EXPECT_FALSE(torch_.deterministicFillUninitializedMemory());
}

TEST_F(GpuArithmetic, WhatIsFastest) {
  const testing::SetVariable workspace(kWorkspace, ":0:0");
  const auto line = set_gpu_arithmetic(false);
  EXPECT_FALSE(torch_.deterministicAlgorithms());
  EXPECT_TRUE(torch_.userEnabledCuDNNSDP());
  EXPECT_EQ(line.find("deterministic no"), 0u);
}

TEST_F(GpuArithmetic, AWorkspaceThatCuBlasMayChooseIsRefused) {
  for (const char* value : {"", ":0:0", ":4096:2:16:8", "4096:8", ":4096:8 "}) {
    const testing::SetVariable workspace(kWorkspace, value);
    testing::expect_input_error(
        [] { set_gpu_arithmetic(true); },
        {fmt::format("{}={}: expected :4096:8 or :16:8", kWorkspace, value),
         "--train.deterministic no"});
    EXPECT_FALSE(torch_.deterministicAlgorithms());
  }
  const testing::SetVariable workspace(kWorkspace, ":16:8");
  EXPECT_NO_THROW(set_gpu_arithmetic(true));
}

}  // namespace
}  // namespace mumoe::launch
