#include "study/predict/memory_estimate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace mumoe::study {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(MemoryEstimate, GrowsWithTheMicroBatchAndFallsWithTp) {
  const auto samples = model::family("gpt2").workspace({});
  const auto total = [&](std::int64_t micro_batch, int tp) {
    model::Cost cost;
    cost.bytes = {.weights = 1000, .gradients = 2000, .optimizer = 4000};
    cost.pass.kept_bytes = 500;
    const auto estimate =
        estimate_memory(cost, samples, micro_batch, tp, at::kFloat, true, 77);
    EXPECT_EQ(estimate.model(), 7500 + estimate.workspace);
    EXPECT_TRUE(contains(describe_memory(estimate, true), "program 77 bytes"));
    EXPECT_FALSE(contains(describe_memory(estimate, false), "program"));
    return estimate.model();
  };
  EXPECT_GT(total(4, 1), 1.2 * total(1, 1));
  EXPECT_LT(total(4, 2), total(4, 1));
}

TEST(MemoryEstimate, OfTheWorkspaceIsThatOfTheDevice) {
  const model::ModelConfig model;
  const auto samples = model::family("gpt2").workspace(model);
  const auto workspace = [&](bool on_cpu) {
    return estimate_memory({}, samples, 16, 1, at::kBFloat16, on_cpu, 0)
        .workspace;
  };
  const auto width = static_cast<double>(model.width);
  const double wide = 16.0 * static_cast<double>(model.context) *
                      std::max<double>(model.mlp.hidden_dim, 3 * width);
  const double embedding = static_cast<double>(model.vocab) * width;
  // In fp32, 2^24 logits three times; in bf16, 2^28 once.
  EXPECT_NEAR(workspace(true),
              4 * (7 * wide + 4 * embedding + 3 * (1 << 24)) + (32 << 20),
              1);
  EXPECT_NEAR(workspace(false), 2 * (7 * wide + (1 << 28)) + (32 << 20), 1);
}

}  // namespace
}  // namespace mumoe::study
