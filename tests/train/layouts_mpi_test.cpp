// The same run on the ranks of mpirun and on one.
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using model::MlpKind;

TEST(LayoutsOverMpi, GiveTheLossesOfOneRankInFp64) {
  for (const MlpKind mlp : {MlpKind::cp, MlpKind::dense}) {
    for (const std::int64_t micro_batch : {0, 1}) {
      for (const int zero : {0, 1}) {
        testing::expect_same_run_as_one_rank(testing::mpi_world(),
                                             mlp,
                                             micro_batch,
                                             at::kDouble,
                                             1e-10,
                                             zero);
      }
    }
  }
}

TEST(LayoutsOverMpi, GiveTheLossesOfOneRankInFp32) {
  testing::expect_same_run_as_one_rank(testing::mpi_world(),
                                       MlpKind::cp,
                                       0,
                                       at::kFloat,
                                       1e-5);
}

}  // namespace
}  // namespace mumoe
