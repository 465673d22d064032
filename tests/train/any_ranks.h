#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "dist/self_communicator.h"
#include "tests/support/parameters.h"
#include "tests/train/small_run.h"

// Any number of data-parallel ranks, also one that does not divide the batch,
// gives the run of one rank.

namespace mumoe::testing {

inline RunResult run_of_one_rank(SmallRun run) {
  run.micro_batch = 0;
  run.tp = 1;
  const auto self = dist::make_self_communicator(at::kCPU);
  return train_small(*self, run);
}

/// Trains on the ranks of `world` and compares with `one`, in fp64.
inline void expect_run_of_one_rank(dist::Communicator& world,
                                   const SmallRun& run,
                                   const RunResult& one) {
  const RunResult found = train_small(world, run);
  ASSERT_EQ(found.losses.size(), one.losses.size());
  for (std::size_t s = 0; s < one.losses.size(); ++s) {
    EXPECT_NEAR(found.losses[s] / one.losses[s], 1, 1e-10) << "step " << s;
    EXPECT_NEAR(found.norms[s] / one.norms[s], 1, 1e-10) << "step " << s;
    EXPECT_NEAR(found.active_shares[s], one.active_shares[s], 1e-3);
    EXPECT_EQ(found.hashes[s], one.hashes[s]) << "step " << s;
  }
  EXPECT_LT(relative_error(found.weights, one.weights), 1e-10);
}

}  // namespace mumoe::testing
