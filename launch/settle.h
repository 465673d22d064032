#pragma once

#include <string>

#include "launch/compute.h"
#include "launch/plan_choice.h"
#include "launch/session.h"
#include "run/options.h"

namespace mumoe::launch {

/// What a run does, once options and machine are known. Everything that is
/// measured or chosen is here, the same on all ranks.
struct Settled {
  /// As asked for, and no `auto` where something was chosen: device, backend,
  /// precision, GEMM library, plan (of several tp ranks), and the peak that
  /// `mfu` and `sol` compare with.
  run::Options options;
  Compute compute;
  ChosenPlan plan;
  train::BatchPlan batch;
  /// Why the device is not a GPU where there are some: a line, or empty.
  std::string note = {};
  /// Of `Trainer::set_sparse_share`; 0 on a CPU.
  double sparse_share = 0;
};

/// Settles what `asked` leaves open, by what was measured, on rank 0 for all.
/// `batch` and `unequal_cpus` as of `require_layout`. Collective.
Settled settle(const run::Options& asked,
               const Session& session,
               const train::BatchPlan& batch,
               const std::string& unequal_cpus);

/// The same of what only asks a model what it says, under the plan that `asked`
/// names: rates of steps are not measured. Collective.
Settled settle_evaluation(const run::Options& asked,
                          const Session& session,
                          const train::BatchPlan& batch);

/// The same of what runs in this process alone, whose device is free.
Settled settle_alone(run::Options asked);

}  // namespace mumoe::launch
