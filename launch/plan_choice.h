#pragma once

#include <string>

#include "dist/process_mesh.h"
#include "launch/compute.h"
#include "launch/options.h"
#include "mumoe/sharding.h"

namespace mumoe::launch {

/// A plan, and why it was chosen: a line, empty where there was no choice.
struct ChosenPlan {
  Plan plan = Plan::sequence;
  std::string reason = {};
};

/// Settles `parallel.plan = auto`, on rank 0 for all, and writes the choice
/// into `options`: of the plans that can cut the model, the one that takes the
/// least time by the cost table (mumoe/plan_cost.h), the measured bandwidth of
/// the tp group and `peak_flops`, the rate of products of all ranks. Throws
/// `InputError` when the model cannot be cut. Collective.
ChosenPlan choose_plan(Options& options,
                       const dist::ProcessMesh& mesh,
                       const Compute& compute,
                       double peak_flops);

}  // namespace mumoe::launch
