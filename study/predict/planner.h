#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "study/predict/machine.h"
#include "study/predict/own_predictor.h"
#include "study/predict/predictor.h"
#include "study/predict/run_cost.h"
#include "study/predict/step_time.h"

namespace mumoe::study {

/// What of a layout is given; the rest is looked for.
struct WantedLayout {
  std::optional<int> dp = {};
  std::optional<int> tp = {};
  std::optional<Plan> plan = {};
  std::optional<int> zero = {};
  std::optional<std::int64_t> micro_batch = {};
  std::optional<model::Recompute> recompute = {};
  /// Whether a tp group may cross nodes.
  bool tp_across_nodes = false;
};

/// A layout of a run, and what would come of it.
struct PlannedRun {
  RunLayout layout;
  /// Why it cannot be, in words; empty: it can.
  std::string refused = {};
  RunCost cost = {};
  /// Of the device, a rank.
  double memory_bytes = 0;
  StepTime parts = {};
  Prediction step = {};
  double samples_per_s = 0;
  /// Model FLOPs, and what the products alone would take at the peak, as shares
  /// of the step.
  double mfu = 0;
  double speed_of_light = 0;
};

/// What became of all layouts.
struct Plans {
  std::vector<PlannedRun> possible;  ///< The fastest first.
  std::vector<PlannedRun> refused;
};

/// All layouts of the run of `options` over `ranks` GPUs of `machine`, in
/// `dtype`: dp x tp, plans, ZeRO, micro-batches (divisors of what a rank has)
/// and recomputation. Deterministic.
Plans plan_run(const run::Options& options,
               const Machine& machine,
               int ranks,
               at::ScalarType dtype,
               const WantedLayout& wanted);

/// The same over `ranks` ranks of this machine's CPUs, whose rates `predictor`
/// knows, and which has `memory` bytes for all of them.
Plans plan_here(const run::Options& options,
                const OwnPredictor& predictor,
                int ranks,
                at::ScalarType dtype,
                double memory,
                const WantedLayout& wanted);

}  // namespace mumoe::study
