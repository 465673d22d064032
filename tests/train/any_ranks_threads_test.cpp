#include <fmt/format.h>

#include "tests/support/steps.h"
#include "tests/support/thread_communicator.h"
#include "tests/train/any_ranks.h"
#include "train/batches.h"

namespace mumoe {
namespace {

using testing::SmallRun;
using train::BatchPlan;

std::vector<std::int64_t> counts_of(const BatchPlan& plan) {
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < plan.ranks; ++rank) {
    counts.push_back(plan.of_rank(rank).count);
  }
  return counts;
}

TEST(AnyRanks, TakeContiguousRunsThatDifferByOneAtMost) {
  EXPECT_EQ(counts_of(BatchPlan::make(16, 0, 3)),
            (std::vector<std::int64_t>{6, 5, 5}));
  EXPECT_EQ(counts_of(BatchPlan::make(16, 0, 5)),
            (std::vector<std::int64_t>{4, 3, 3, 3, 3}));
  for (const int ranks : {1, 2, 3, 4, 5, 7, 16}) {
    for (const std::int64_t micro_batch : {0, 1, 2, 4}) {
      if (16 % ranks == 0 && micro_batch != 0 &&
          16 / ranks % micro_batch != 0) {
        continue;
      }
      const auto plan = BatchPlan::make(16, micro_batch, ranks);
      std::int64_t next = 0, most = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        for (std::int64_t m = 0; m < plan.micro_steps; ++m) {
          const auto run = plan.of_micro_batch(rank, m);
          EXPECT_EQ(run.begin, next);
          next += run.count;
          most = std::max(most, run.count);
        }
      }
      EXPECT_EQ(next, 16);
      EXPECT_EQ(most, plan.micro_batch);
      EXPECT_LE(most, micro_batch == 0 ? 16 : micro_batch);
    }
  }
}

TEST(AnyRanks, EachNeedsASample) {
  EXPECT_EQ(BatchPlan::make(3, 0, 3).per_rank, 1);
  EXPECT_THROW(BatchPlan::make(2, 0, 3), InputError);
}

TEST(AnyRanks, GiveTheRunOfOneRank) {
  SmallRun run;
  run.batch = 16;
  run.steps = testing::compared_steps();
  const auto one = testing::run_of_one_rank(run);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (const int ranks : {2, 3, 4}) {
    // 1 at 3 ranks: two of them run out of samples before the last one.
    for (const std::int64_t micro_batch : {0, 1, 4}) {
      for (const int zero : {0, 1}) {
        SCOPED_TRACE(fmt::format("dp {}, micro-batch {}, zero {}",
                                 ranks,
                                 micro_batch,
                                 zero));
        run.micro_batch = micro_batch;
        run.zero = zero;
        dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
          testing::expect_run_of_one_rank(world, run, one);
        });
      }
    }
  }
}

TEST(AnyRanks, GiveTheRunOfOneRankWithTensorParallelism) {
  SmallRun run;
  run.batch = 16;
  run.steps = 5;
  const auto one = testing::run_of_one_rank(run);
  run.tp = 2;
  run.micro_batch = 2;
  dist::ThreadWorld::run(6, [&](dist::Communicator& world) {
    testing::expect_run_of_one_rank(world, run, one);
  });
}

}  // namespace
}  // namespace mumoe
