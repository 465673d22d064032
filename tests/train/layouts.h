#pragma once

#include <gtest/gtest.h>

#include "dist/self_communicator.h"
#include "tests/train/small_run.h"

namespace mumoe::testing {

/// Trains on one rank and on all ranks of `world` at the same global batch and
/// compares every step.
inline void expect_same_run_as_one_rank(dist::Communicator& world,
                                        model::MlpKind mlp,
                                        std::int64_t micro_batch,
                                        at::ScalarType dtype,
                                        double tolerance,
                                        int zero = 0) {
  const auto self = dist::make_self_communicator(at::kCPU);
  SmallRun run;
  run.mlp = mlp;
  run.dtype = dtype;
  const RunResult control = train_small(*self, run);
  run.micro_batch = micro_batch;
  run.zero = zero;
  const RunResult found = train_small(world, run);
  ASSERT_EQ(found.losses.size(), control.losses.size());
  const bool mixes = mlp != model::MlpKind::dense;
  ASSERT_EQ(control.active_shares.size(), mixes ? control.losses.size() : 0);
  ASSERT_EQ(found.active_shares.size(), control.active_shares.size());
  for (std::size_t s = 0; s < control.active_shares.size(); ++s) {
    // Rounding may move a coefficient or two to zero.
    EXPECT_NEAR(found.active_shares[s], control.active_shares[s], 1e-3);
    EXPECT_GT(found.active_shares[s], 0);
    EXPECT_LE(found.active_shares[s], 1 + 1e-12);
  }
  EXPECT_LT(control.losses.back(), 0.9 * control.losses.front())
      << "the run learns something";
  for (std::size_t s = 0; s < control.losses.size(); ++s) {
    EXPECT_NEAR(found.losses[s] / control.losses[s], 1, tolerance)
        << "loss of step " << s;
    EXPECT_NEAR(found.norms[s] / control.norms[s], 1, 100 * tolerance)
        << "gradient norm of step " << s;
  }
}

}  // namespace mumoe::testing
