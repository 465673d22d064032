#pragma once

#include <string>
#include <vector>

#include "study/report/scale_cells.h"

namespace mumoe::launch {

/// The cells of a study for people, in two tables: what was measured (medians
/// over the repeats, with the least and the most), efficiency against the
/// smallest layout of the same model and scaling, and the cells that failed, a
/// line each. As wide as `columns`; ends with a line end.
std::string scale_table(const std::vector<study::ScaleCell>& cells,
                        std::size_t columns);

/// The same for programs, with all digits and all runs: {"cells": [{"cell",
/// "efficiency", "step_ms": {"median", "low", "high"}, ..., "runs": [lines of
/// results.jsonl]}]}.
std::string scale_json(const std::vector<study::ScaleCell>& cells);

}  // namespace mumoe::launch
