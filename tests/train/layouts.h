#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "dist/self_communicator.h"
#include "dist/torch_text.h"
#include "tests/support/parameters.h"
#include "tests/support/steps.h"
#include "tests/train/small_run.h"

// The promise that a run does not depend on its layout: losses, norms and
// gradients of 20 steps over dp × tp ranks are those of one rank.

namespace mumoe::testing {

/// Samples a step of every compared run.
inline constexpr int kBatch = 16;

/// Relative bounds.
struct Agreement {
  double loss;
  double first_gradient;
  double last_gradient;

  static Agreement of(at::ScalarType dtype) {
    if (dtype == at::kDouble) return {1e-10, 1e-10, 1e-10};
    return {1e-5, 1e-5, 1e-3};
  }
};

inline void expect_same_gradients(
    const std::map<std::string, at::Tensor>& found,
    const std::map<std::string, at::Tensor>& expected,
    double tolerance,
    const char* which) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, gradient] : expected) {
    EXPECT_LT(relative_error(found.at(name), gradient), tolerance)
        << which << " gradient of " << name;
  }
}

/// The run of one rank, remembered: every layout is compared with it.
inline const RunResult& control_run(SmallRun run) {
  static std::mutex mutex;
  static std::map<std::string, RunResult> known;
  run.tp = 1;
  run.zero = 0;
  run.micro_batch = 0;
  run.device = at::kCPU;
  run.data = nullptr;
  run.row_multiple = 1;
  run.align = 1;
  run.recompute = false;
  const std::string key =
      fmt::format("{} {} {}", run.mlp, at::IntArrayRef(run.ranks), run.dtype);
  const std::lock_guard lock(mutex);
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  const auto self = dist::make_self_communicator(at::kCPU);
  return known[key] = train_small(*self, run);
}

/// Trains on all ranks of `world` and compares every step with one rank's.
inline void expect_same_run_as_one_rank(dist::Communicator& world,
                                        SmallRun run) {
  run.steps = compared_steps();
  run.batch = kBatch;
  const RunResult& control = control_run(run);
  const RunResult found = train_small(world, run);
  const Agreement agree = Agreement::of(run.dtype);
  ASSERT_EQ(found.losses.size(), control.losses.size());
  const bool mixes = run.mlp != "dense";
  ASSERT_EQ(control.active_shares.size(), mixes ? control.losses.size() : 0);
  ASSERT_EQ(found.active_shares.size(), control.active_shares.size());
  for (std::size_t s = 0; s < control.active_shares.size(); ++s) {
    // Rounding may move a coefficient or two to zero.
    EXPECT_NEAR(found.active_shares[s], control.active_shares[s], 1e-3);
    EXPECT_GT(found.active_shares[s], 0);
    EXPECT_LE(found.active_shares[s], 1 + 1e-12);
  }
  if (run.steps >= 20) {
    EXPECT_LT(control.losses.back(), 0.9 * control.losses.front())
        << "the run learns something";
  }
  for (std::size_t s = 0; s < control.losses.size(); ++s) {
    EXPECT_NEAR(found.losses[s] / control.losses[s], 1, agree.loss)
        << "loss of step " << s;
    EXPECT_NEAR(found.norms[s] / control.norms[s],
                1,
                s == 0 ? agree.first_gradient : agree.last_gradient)
        << "gradient norm of step " << s;
  }
  EXPECT_EQ(found.largest_padding, 0);
  expect_same_gradients(found.first_gradients,
                        control.first_gradients,
                        agree.first_gradient,
                        "first");
  expect_same_gradients(found.last_gradients,
                        control.last_gradients,
                        agree.last_gradient,
                        "last");
}

/// What is trained at every layout: padded ranks (7 and 23 over 2 and 4), and a
/// train with r₁ ≠ r₂.
inline std::vector<std::pair<std::string, std::vector<std::int64_t>>>
layout_models() {
  return {{"dense", {}}, {"cp", {23}}, {"tr", {2, 3, 5}}, {"tt", {1, 3, 7}}};
}

/// `run` at every dp x tp and with every plan that the ranks of `world` allow,
/// in `accumulation` micro-batches a step.
inline void expect_same_at_all_layouts(dist::Communicator& world,
                                       SmallRun run,
                                       int zero,
                                       int accumulation) {
  for (const auto& [mlp, ranks] : layout_models()) {
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
        expect_same_run_as_one_rank(world, run);
      }
    }
  }
}

}  // namespace mumoe::testing
