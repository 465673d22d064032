// The same run on 1, 2 and 4 ranks, over threads.
#include <gtest/gtest.h>

#include "dist/thread_communicator.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using model::MlpKind;

class Layouts : public ::testing::TestWithParam<int> {};

TEST_P(Layouts, GiveTheLossesOfOneRankInFp64) {
  for (const MlpKind mlp : {MlpKind::cp, MlpKind::dense}) {
    dist::ThreadWorld::run(GetParam(), [&](dist::Communicator& world) {
      testing::expect_same_run_as_one_rank(world, mlp, 0, at::kDouble, 1e-10);
    });
  }
}

TEST_P(Layouts, GiveTheLossesOfOneRankWithAccumulation) {
  dist::ThreadWorld::run(GetParam(), [&](dist::Communicator& world) {
    testing::expect_same_run_as_one_rank(world,
                                         MlpKind::cp,
                                         1,
                                         at::kDouble,
                                         1e-10);
  });
}

TEST_P(Layouts, GiveTheLossesOfOneRankInFp32) {
  dist::ThreadWorld::run(GetParam(), [&](dist::Communicator& world) {
    testing::expect_same_run_as_one_rank(world,
                                         MlpKind::cp,
                                         2,
                                         at::kFloat,
                                         1e-5);
  });
}

TEST_P(Layouts, GiveTheLossesOfOneRankWithShardedState) {
  for (const std::int64_t micro_batch : {0, 1}) {
    dist::ThreadWorld::run(GetParam(), [&](dist::Communicator& world) {
      testing::expect_same_run_as_one_rank(world,
                                           MlpKind::cp,
                                           micro_batch,
                                           at::kDouble,
                                           1e-10,
                                           /*zero=*/1);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Layouts, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace mumoe
