#pragma once

#include <string>
#include <vector>

#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "dist/watch/bandwidth.h"
#include "launch/compute.h"
#include "model/cost.h"
#include "mumoe/sharding.h"
#include "run/options.h"
#include "train/batches.h"
#include "train/parameter_layout.h"

namespace mumoe::launch {

/// Whether the ranks of each tp group round alike on their CPUs: the same
/// instruction sets, of this project's kernels and of the libraries', and as
/// many threads. Empty if so, else what the first two unlike ranks have: what
/// both compute from the same numbers may then differ in its last bits.
/// Collective over `world`, whose ranks are at `places`.
std::string find_unequal_cpus(dist::Communicator& world,
                              const std::vector<dist::RankPlace>& places);

/// How the batch is dealt. Throws `InputError` when the model, or the batch, of
/// `options` cannot be cut over `mesh`. `unequal_cpus` (`find_unequal_cpus`)
/// keeps plans away that compute the same on each rank of a tp group. Measures
/// and moves nothing.
train::BatchPlan require_layout(const run::Options& options,
                                const dist::ProcessMesh& mesh,
                                const std::string& unequal_cpus);

/// What the estimate of a step's time rests on.
struct Machine {
  double flops;          ///< Of one rank, a second.
  dist::Bandwidth link;  ///< Of the tp group, and taken to be that of dp.
};

/// Seconds of a step of so many micro-batches: products, exchanges and sums one
/// after the other. What recomputation adds is not in it.
double step_seconds(const model::Cost& cost,
                    const dist::MeshShape& mesh,
                    std::int64_t micro_steps,
                    const Machine& machine);

/// A plan, and why it was chosen: a line, empty where there was no choice.
struct ChosenPlan {
  Plan plan = Plan::sequence;
  std::string reason = {};

  /// A line of the start table; empty where tp cuts nothing.
  std::string describe(const dist::ProcessMesh& mesh) const;
};

/// Settles `parallel.plan = auto`, on rank 0 for all: of the plans that
/// `require_layout` admits, the one whose step takes the least time by what the
/// model costs under it (model/cost.h), the measured bandwidth of the tp group
/// and the peak in `options`, the rate of products of all ranks. Collective.
ChosenPlan choose_plan(const run::Options& options,
                       const dist::ProcessMesh& mesh,
                       const Compute& compute,
                       const train::BatchPlan& batch,
                       const std::string& unequal_cpus);

}  // namespace mumoe::launch
