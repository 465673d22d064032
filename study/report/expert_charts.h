#pragma once

#include "study/experts/expert_study.h"
#include "study/report/chart.h"

namespace mumoe::study {

/// How the experts of each gate are used, front to back, of a run and of the
/// one that it is compared with: which share works at a token, which was ever
/// chosen, and as how many evenly used ones they count.
Chart expert_chart(const ExpertStudy& study);

}  // namespace mumoe::study
