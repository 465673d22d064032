#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "run/options.h"
#include "study/predict/run_cost.h"
#include "study/simulate/charges.h"

namespace mumoe::study {

/// What the operations of one rank's step take on this machine's CPU.
struct Calibration {
  MeasuredCharges charges;
  /// A step's computation, watched by nobody: of the slowest rank.
  double step_seconds = 0;
  /// Of coefficients that are not zero, each time that they are counted in a
  /// micro-batch: of the last step.
  std::vector<double> active_shares;
};

/// How ranks measure beside each other: those that share cores and memory in
/// the run shall do so here.
struct Together {
  /// Before each step.
  std::function<void()> begin = [] {};
  /// Of what it took each rank: the most.
  std::function<double(double)> slowest = [](double own) { return own; };
};

/// Measures steps of rank 0 of the run of `options`, cut as `layout` says, with
/// one micro-batch each and without its other ranks: nothing is waited for but
/// the slowest of those that measure `together`. Throws `InputError` where
/// model or batch cannot be cut so.
Calibration calibrate(const run::Options& options,
                      const RunLayout& layout,
                      at::ScalarType dtype,
                      int steps,
                      const Together& together = {});

}  // namespace mumoe::study
