// The same run at every layout dp × tp, under every plan, with ZeRO-1 on and
// off and with accumulation 1 and 4, over threads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <tuple>

#include "tests/support/thread_communicator.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using testing::SmallRun;

/// dp, tp.
using Grid = std::pair<int, int>;

void expect_same(const Grid& grid, SmallRun run) {
  run.tp = grid.second;
  dist::ThreadWorld::run(grid.first * grid.second,
                         [&](dist::Communicator& world) {
                           testing::expect_same_run_as_one_rank(world, run);
                         });
}

class Layouts
    : public ::testing::TestWithParam<std::tuple<Grid, Plan, int, int>> {};

TEST_P(Layouts, GiveTheRunOfOneRankInFp64) {
  const auto& [grid, plan, zero, accumulation] = GetParam();
  for (const auto& [mlp, ranks] : testing::layout_models()) {
    SCOPED_TRACE(fmt::format("mlp {}", mlp));
    SmallRun run;
    run.mlp = mlp;
    run.ranks = ranks;
    run.plan = plan;
    run.zero = zero;
    run.micro_batch = testing::kBatch / grid.first / accumulation;
    expect_same(grid, run);
  }
}

std::string name_of(
    const ::testing::TestParamInfo<std::tuple<Grid, Plan, int, int>>& info) {
  const auto& [grid, plan, zero, accumulation] = info.param;
  return fmt::format("dp{}_tp{}_{}{}_accumulate{}",
                     grid.first,
                     grid.second,
                     to_string(plan),
                     zero == 1 ? "_zero" : "",
                     accumulation);
}

// Without tp the plans are the same.
INSTANTIATE_TEST_SUITE_P(
    DataParallel,
    Layouts,
    ::testing::Combine(::testing::Values(Grid{1, 1}, Grid{2, 1}, Grid{4, 1}),
                       ::testing::Values(Plan::bottleneck),
                       ::testing::Values(0, 1),
                       ::testing::Values(1, 4)),
    name_of);
INSTANTIATE_TEST_SUITE_P(
    TensorParallel,
    Layouts,
    ::testing::Combine(
        ::testing::Values(Grid{1, 2}, Grid{2, 2}, Grid{1, 4}),
        ::testing::Values(Plan::sequence, Plan::bottleneck, Plan::rank),
        ::testing::Values(0, 1),
        ::testing::Values(1, 4)),
    name_of);

TEST(LayoutsInFp32, GiveTheRunOfOneRank) {
  for (const Grid& grid : {Grid{2, 1}, Grid{1, 2}, Grid{2, 2}}) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      if (grid.second == 1 && plan != Plan::sequence) continue;
      for (const auto& [mlp, ranks] : testing::layout_models()) {
        SCOPED_TRACE(fmt::format("{} x {}, {}, mlp {}",
                                 grid.first,
                                 grid.second,
                                 to_string(plan),
                                 mlp));
        SmallRun run;
        run.dtype = at::kFloat;
        run.mlp = mlp;
        run.ranks = ranks;
        run.plan = plan;
        run.micro_batch = 2;
        expect_same(grid, run);
      }
    }
  }
}

// The rank of a published setting: prime, and longer than the other dims.
TEST(LayoutsOfRank199, GiveTheRunOfOneRank) {
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    SmallRun run;
    run.ranks = {199};
    run.plan = plan;
    run.zero = 1;
    expect_same({2, 2}, run);
  }
}

}  // namespace
}  // namespace mumoe
