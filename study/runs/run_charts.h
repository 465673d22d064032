#pragma once

#include <span>
#include <vector>

#include "study/report/scale_charts.h"
#include "study/runs/run_record.h"

namespace mumoe::study {

/// Charts of runs, a colour each: loss by step, by what was trained on and by
/// time, validation loss, rate, gradient norm, learning rate, MFU and speed of
/// light, and of experts the share that is active, dead and effective, by step
/// and, at its newest figures, by layer. Without those that would be empty.
std::vector<NamedChart> run_charts(std::span<const RunRecord> runs);

}  // namespace mumoe::study
