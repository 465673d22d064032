#pragma once

#include <vector>

#include "study/predict/run_cost.h"
#include "study/predict/step_work.h"

namespace mumoe::study {

/// What a rank on a CPU passes over in a micro-step of the run of `options`,
/// cut as `layout` says, beside its products: bytes by kind, each of a forward
/// pass. How often backward, and what is formed again, pass over them is part
/// of the rates.
std::vector<Pass> cpu_passes(const run::Options& options,
                             const RunCost& run,
                             const RunLayout& layout);

}  // namespace mumoe::study
