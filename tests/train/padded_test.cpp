// Ranks padded to whole rows of 16 bytes and parameters that begin at multiples
// of 64 elements, as on a GPU: the same run, and the same files.
#include <gtest/gtest.h>

#include "dist/self_communicator.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using testing::ScratchFolder;
using testing::SmallRun;
using testing::train_small;

SmallRun padded(SmallRun run) {
  run.row_multiple = 8;
  run.align = 64;
  return run;
}

const std::pair<std::string, std::vector<std::int64_t>> kModels[] = {
    {"cp", {23}},
    {"tr", {2, 3, 5}},
    {"tucker", {4, 6, 5}}};

TEST(PaddedRows, TrainAsOthersDo) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const auto& [mlp, ranks] : kModels) {
    SCOPED_TRACE(mlp);
    testing::expect_same_run_as_one_rank(*self,
                                         padded({.mlp = mlp, .ranks = ranks}));
  }
}

TEST(PaddedRows, TrainAsOthersDoCutOverTwoRanks) {
  for (const auto& [mlp, ranks] : kModels) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
        SCOPED_TRACE(mlp);
        testing::expect_same_run_as_one_rank(world,
                                             padded({.mlp = mlp,
                                                     .ranks = ranks,
                                                     .tp = 2,
                                                     .plan = plan,
                                                     .zero = 1}));
      });
    }
  }
}

TEST(PaddedRows, TrainAsOthersDoOverTwoRanksOfData) {
  for (const int zero : {0, 1}) {
    dist::ThreadWorld::run(2, [&](dist::Communicator& world) {
      testing::expect_same_run_as_one_rank(
          world,
          padded({.mlp = "cp", .ranks = {23}, .zero = zero}));
    });
  }
}

// A checkpoint knows nothing of it: a run goes on either way.
TEST(PaddedRows, ExchangeCheckpointsWithOthers) {
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run{.mlp = "tr", .ranks = {2, 3, 5}, .steps = 8};
  const ScratchFolder folder;
  run.out = folder.path() / "whole";
  const auto whole = train_small(*self, run);
  for (const bool first : {false, true}) {
    run.out = folder.path() / (first ? "padded_first" : "padded_last");
    run.steps = 4;
    train_small(*self, first ? padded(run) : run);
    run.steps = 8;
    run.resume = true;
    const auto resumed = train_small(*self, first ? run : padded(run));
    EXPECT_LT(testing::relative_error(resumed.weights, whole.weights), 1e-12);
    EXPECT_EQ(resumed.largest_padding, 0);
    run.resume = false;
  }
}

}  // namespace
}  // namespace mumoe
