#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "run/options.h"
#include "study/predict/run_cost.h"

namespace mumoe::study {

/// A run of this program that was measured, as a cell of a study.
struct OwnRun {
  std::string name;  ///< Of the cell.
  run::Options options;
  RunLayout layout;
  at::ScalarType dtype = at::kFloat;
  double seconds = 0;     ///< Of a step: the median of the repeats' medians.
  double rss_bytes = 0;   ///< Of rank 0, at most.
  double peak_flops = 0;  ///< Of a rank: what its mfu compares with.
};

/// The cells of the study in `folder` that were measured; what failed is left
/// out. Throws `InputError` naming the file that is missing or wrong.
std::vector<OwnRun> own_runs(const std::filesystem::path& folder);

}  // namespace mumoe::study
