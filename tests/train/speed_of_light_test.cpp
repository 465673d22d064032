// What of a step its products need at the peak rate, beside what the model's
// FLOPs do.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "dist/self_communicator.h"
#include "model/cost.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/small_run.h"

namespace mumoe {
namespace {

using testing::ScratchFolder;
using testing::SmallRun;

/// `sol` over `mfu` of each step of a run on `ranks` ranks, both at most 1.
std::vector<double> ratios(int ranks, SmallRun run) {
  const ScratchFolder folder;
  run.out = folder.path();
  run.steps = 3;
  run.peak_flops = 1;
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    testing::train_small(world, run);
  });
  std::vector<double> found;
  std::ifstream in(folder.path() / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line);
    const double mfu = entry["mfu"], sol = entry["sol"];
    EXPECT_GT(mfu, 0);
    EXPECT_LE(sol, 1);
    EXPECT_LT(line.find("\"mfu\":"), line.find("\"sol\":"));
    found.push_back(sol / mfu);
  }
  EXPECT_EQ(found.size(), 3u);
  return found;
}

void expect_ratio(int ranks, const SmallRun& run, double expected) {
  for (const double found : ratios(ranks, run)) {
    EXPECT_NEAR(found, expected, 1e-9);
  }
}

TEST(SpeedOfLight, IsUtilisationWhereNothingIsComputedTwice) {
  expect_ratio(1, {}, 1);
  expect_ratio(2, {}, 1);
  expect_ratio(1, {.mlp = "dense", .batch = 9, .micro_batch = 3}, 1);
}

// CP, in each of two blocks: GELU's input is the product with the output
// factor, R x H, of what the experts' factor, N x R, has mixed.
TEST(SpeedOfLight, CountsWhatIsComputedAgain) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ProcessMesh mesh(*self, 0, 1);
  dist::ParameterRegistry registry(mesh.tp(), at::kFloat, at::kMeta);
  const model::Gpt2 gpt2(testing::small_model("cp"), registry);
  const double whole = gpt2.cost(1, at::kCPU).flops;
  const double again = 2 * 2 * 12 * (7 * 30 + 12 * 7);
  expect_ratio(1, {.recompute = true}, (whole + again) / whole);
}

TEST(SpeedOfLight, CountsWhatOthersComputeAsWell) {
  // Under `bottleneck` both ranks compute the gate and the narrow factors.
  for (const double found : ratios(2, {.tp = 2, .plan = Plan::bottleneck})) {
    EXPECT_GT(found, 1.1);
    EXPECT_LT(found, 2);
  }
}

// The first of three ranks has three of 8 samples.
TEST(SpeedOfLight, CountsWhatARankHasMoreThanOthers) {
  expect_ratio(3, {}, 3 * 3.0 / 8);
  // The same in micro-batches of two samples and of one.
  expect_ratio(3, {.micro_batch = 2}, 3 * 3.0 / 8);
}

}  // namespace
}  // namespace mumoe
