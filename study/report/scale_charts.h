#pragma once

#include <string>
#include <vector>

#include "study/report/chart.h"
#include "study/report/scale_cells.h"

namespace mumoe::study {

struct NamedChart {
  std::string name;     ///< Of its files: "throughput_strong".
  std::string subject;  ///< "Throughput"
  std::string caption;
  Chart chart;
};

/// Throughput, efficiency, MFU and speed of light, memory, bytes and exposed
/// communication over ranks, each for every scaling that `cells` have, a panel
/// a model, a series a family; what was not measured has no chart.
std::vector<NamedChart> scale_charts(const std::vector<ScaleCell>& cells);

/// "tokens" or "images", as the cells count; "targets" if some do each.
std::string targets_of(const std::vector<ScaleCell>& cells);

}  // namespace mumoe::study
