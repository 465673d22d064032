// The same run on the ranks of mpirun, cut in every way, and on one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using testing::kBatch;
using testing::SmallRun;

void expect_same(SmallRun run, int zero, int accumulation) {
  auto& world = testing::mpi_world();
  for (const auto& [mlp, ranks] : testing::layout_models()) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      for (const int tp : {1, 2, 4}) {
        if (world.size() % tp != 0) continue;
        if (tp == 1 && plan != Plan::sequence) continue;
        SCOPED_TRACE(fmt::format("tp {}, {}, zero {}, accumulation {}, mlp {}",
                                 tp,
                                 to_string(plan),
                                 zero,
                                 accumulation,
                                 mlp));
        run.mlp = mlp;
        run.ranks = ranks;
        run.plan = plan;
        run.tp = tp;
        run.zero = zero;
        run.micro_batch = kBatch * tp / world.size() / accumulation;
        testing::expect_same_run_as_one_rank(world, run);
      }
    }
  }
}

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp64) {
  for (const int zero : {0, 1}) {
    for (const int accumulation : {1, 4}) expect_same({}, zero, accumulation);
  }
}

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp32) {
  SmallRun run;
  run.dtype = at::kFloat;
  expect_same(run, /*zero=*/1, /*accumulation=*/1);
}

}  // namespace
}  // namespace mumoe
