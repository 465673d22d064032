// Three ranks of mpirun do not divide a batch of 16.
#include "tests/support/mpi_main.h"
#include "tests/train/any_ranks.h"

namespace mumoe {
namespace {

TEST(AnyRanksOverMpi, GiveTheRunOfOneRank) {
  testing::SmallRun run;
  run.batch = 16;
  run.steps = 10;
  const auto one = testing::run_of_one_rank(run);
  for (const std::int64_t micro_batch : {0, 1, 4}) {
    SCOPED_TRACE(micro_batch);
    run.micro_batch = micro_batch;
    testing::expect_run_of_one_rank(testing::mpi_world(), run, one);
  }
}

}  // namespace
}  // namespace mumoe
