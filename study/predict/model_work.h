#pragma once

#include "run/options.h"
#include "study/predict/machine.h"
#include "study/predict/run_cost.h"
#include "study/predict/step_work.h"

namespace mumoe::study {

/// What a rank does in a step of the run of `options`, of which `run` says what
/// it costs, cut as `layout` says over GPUs of `machine`: ranks fill nodes, and
/// tp's are neighbours. Sums of gradients go on while the last micro-step's
/// backward pass computes, as the reducer's do, and gathers of weights while
/// the next step's forward pass does.
StepWork model_work(const run::Options& options,
                    const RunCost& run,
                    const RunLayout& layout,
                    const Machine& machine);

}  // namespace mumoe::study
