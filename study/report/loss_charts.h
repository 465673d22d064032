#pragma once

#include <vector>

#include "study/loss/loss_analysis.h"
#include "study/report/scale_charts.h"

namespace mumoe::study {

/// Loss over tokens and over FLOPs, isoFLOP curves and residuals; a panel a
/// form where each has its own. Without any law there are no residuals.
std::vector<NamedChart> loss_charts(const LossAnalysis& analysis);

}  // namespace mumoe::study
