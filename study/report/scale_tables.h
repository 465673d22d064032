#pragma once

#include <string>
#include <vector>

#include "study/report/page.h"
#include "study/report/scale_cells.h"

namespace mumoe::study {

/// Every cell with its settings, what was measured and what was predicted.
Table cell_table(const std::vector<ScaleCell>& cells);

/// Every model: parameters and FLOPs.
Table model_table(const std::vector<ScaleCell>& cells);

/// Every run that failed, with the reason, and whether it was measured later.
Table failure_table(const std::vector<ScaleCell>& cells);

/// Every run that was measured, with its command line and version.
Table run_table(const std::vector<ScaleCell>& cells);

/// How near predictions came, one line; empty: none can be compared.
std::string prediction_line(const std::vector<ScaleCell>& cells);

}  // namespace mumoe::study
