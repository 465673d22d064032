// The same run on the ranks of mpirun, cut in every way, and on one.
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using testing::expect_same_at_all_layouts;
using testing::mpi_world;
using testing::SmallRun;

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp64) {
  for (const int zero : {0, 1}) {
    for (const int accumulation : {1, 4}) {
      expect_same_at_all_layouts(mpi_world(), {}, zero, accumulation);
    }
  }
}

TEST(LayoutsOverMpi, GiveTheRunOfOneRankInFp32) {
  SmallRun run;
  run.dtype = at::kFloat;
  expect_same_at_all_layouts(mpi_world(), run, /*zero=*/1, /*accumulation=*/1);
}

}  // namespace
}  // namespace mumoe
