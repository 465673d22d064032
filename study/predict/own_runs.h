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
  double seconds = 0;  ///< Of a step: the median of the repeats' medians.
  /// Of rank 0, at most: the lower median of the repeats, since a run that is
  /// the first to measure how fast products are holds some of that.
  double rss_bytes = 0;
  double peak_flops = 0;  ///< Of a rank: what its mfu compares with.
  StepMoved moved = {};   ///< Of rank 0.
};

/// The model of a run, and in what it computes: "gpt2 cp 192x768 3x128 fp32".
/// What is kept back together says how well unknown models are predicted.
std::string shape_of(const OwnRun& run);

/// The cells of the study in `folder` that were measured; what failed is left
/// out. Throws `InputError` naming the file that is missing or wrong.
std::vector<OwnRun> own_runs(const std::filesystem::path& folder);

/// Those of several studies of one machine, one after the other.
std::vector<OwnRun> own_runs(const std::vector<std::string>& folders);

}  // namespace mumoe::study
