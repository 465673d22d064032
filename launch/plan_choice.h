#pragma once

#include <string>

#include "dist/process_mesh.h"
#include "launch/compute.h"
#include "mumoe/sharding.h"
#include "run/options.h"

namespace mumoe::launch {

/// A plan, and why it was chosen: a line, empty where there was no choice.
struct ChosenPlan {
  Plan plan = Plan::sequence;
  std::string reason = {};
};

/// Throws `InputError` when the model, or the batch, of `options` cannot be cut
/// over `mesh`. `unequal_cpus` (`find_unequal_cpus`) keeps plans away that
/// compute the same on each rank of a tp group. Measures and moves nothing.
void require_layout(const run::Options& options,
                    const dist::ProcessMesh& mesh,
                    const std::string& unequal_cpus);

/// Settles `parallel.plan = auto`, on rank 0 for all, and writes the choice
/// into `options`: of the plans that `require_layout` admits, the one that
/// takes the least time by the cost table (mumoe/plan_cost.h), the measured
/// bandwidth of the tp group and `peak_flops`, the rate of products of all
/// ranks. Collective.
ChosenPlan choose_plan(run::Options& options,
                       const dist::ProcessMesh& mesh,
                       const Compute& compute,
                       double peak_flops,
                       const std::string& unequal_cpus);

}  // namespace mumoe::launch
