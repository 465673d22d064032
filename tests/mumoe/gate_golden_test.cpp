// The gates of the reference's blocks with batch norm (tests/golden):
// coefficients and running statistics.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "mumoe/gate.h"
#include "mumoe/safetensors.h"
#include "tests/support/golden_files.h"
#include "tests/support/parameters.h"

namespace mumoe {
namespace {

using testing::relative_error;

void run(const NamedTensors& file, at::ScalarType type, double tolerance) {
  const auto value = [&](const std::string& name) {
    return file.at(name).to(type).clone();
  };
  const bool training = file.metadata.at("training") == "1";
  const auto experts = testing::golden_numbers(file.metadata.at("experts"));
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const std::string norm = fmt::format("gate_norm.{}.", e);
    BatchStatistics statistics{.running_mean = value(norm + "running_mean"),
                               .running_var = value(norm + "running_var"),
                               .training = training};
    const at::Tensor a = gate(value("x").flatten(0, -2),
                              value(fmt::format("gate.{}", e)),
                              {.norm = GateNorm::batch},
                              GemmLibrary::mkl,
                              &statistics);
    const at::Tensor& expected = file.at(fmt::format("a.{}", e));
    EXPECT_LT(relative_error(a, expected), tolerance) << "a." << e;
    EXPECT_TRUE(at::equal(a.flatten() == 0, expected.flatten() == 0));
    const std::string after = training ? "after." + norm : norm;
    EXPECT_LT(relative_error(statistics.running_mean,
                             file.at(after + "running_mean")),
              tolerance);
    EXPECT_LT(
        relative_error(statistics.running_var, file.at(after + "running_var")),
        tolerance);
  }
}

TEST(GateGolden, BatchNormFollowsTheReference) {
  int checked = 0;
  for (const auto& path : testing::golden_files("block_")) {
    const NamedTensors file = read_safetensors(path);
    if (file.metadata.at("gate_norm") != "bn") continue;
    ++checked;
    SCOPED_TRACE(path.filename().string());
    run(file, at::kDouble, 1e-9);
    run(file, at::kFloat, 1e-4);
  }
  EXPECT_GT(checked, 0) << "no such fixture in " << testing::golden_folder();
}

}  // namespace
}  // namespace mumoe
