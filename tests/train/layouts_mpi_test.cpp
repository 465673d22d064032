// The same run on the ranks of mpirun, cut in every way, and on one.
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using testing::SmallRun;

void expect_same(SmallRun run, int zero, std::int64_t micro_batch) {
  auto& world = testing::mpi_world();
  for (const auto& [mlp, ranks] : testing::layout_models()) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      for (const int tp : {1, 2, 4}) {
        if (world.size() % tp != 0) continue;
        if (tp == 1 && plan != Plan::sequence) continue;
        SCOPED_TRACE(concat("tp ",
                            tp,
                            ", ",
                            to_string(plan),
                            ", zero ",
                            zero,
                            ", mlp ",
                            static_cast<int>(mlp)));
        run.mlp = mlp;
        run.ranks = ranks;
        run.plan = plan;
        run.tp = tp;
        run.zero = zero;
        run.micro_batch = micro_batch;
        testing::expect_same_run_as_one_rank(world, run);
      }
    }
  }
}

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp64) {
  expect_same({}, /*zero=*/0, /*micro_batch=*/0);
}

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp64WithZeroAndAccumulation) {
  expect_same({}, /*zero=*/1, /*micro_batch=*/1);
}

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp32) {
  SmallRun run;
  run.dtype = at::kFloat;
  expect_same(run, /*zero=*/1, /*micro_batch=*/0);
}

}  // namespace
}  // namespace mumoe
