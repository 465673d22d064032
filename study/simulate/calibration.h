#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "run/options.h"
#include "study/predict/run_cost.h"
#include "study/simulate/charges.h"

namespace mumoe::study {

/// What the operations of one rank's step take on this machine's CPU.
struct Calibration {
  MeasuredCharges charges;
  double step_seconds = 0;  ///< A step's computation, watched by nobody.
  double active_share = 1;  ///< Of coefficients, at the end.
};

/// Measures steps of rank 0 of the run of `options`, cut as `layout` says, with
/// one micro-batch each and without its other ranks: nothing is waited for.
/// `together` is called before each step: ranks that share cores and memory in
/// the run shall do so here. Throws `InputError` where model or batch cannot be
/// cut so.
Calibration calibrate(
    const run::Options& options,
    const RunLayout& layout,
    at::ScalarType dtype,
    int steps,
    const std::function<void()>& together = [] {});

}  // namespace mumoe::study
