#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "study/predict/own_predictor.h"

namespace mumoe::launch {

/// A cell that was predicted, and what was measured of it.
struct OwnCell {
  study::OwnRun run;
  study::Prediction predicted;
  double by_rates = 0;          ///< Seconds.
  double memory_bytes = 0;      ///< Of rank 0, predicted.
  study::StepMoved moved = {};  ///< Predicted.
};

/// How predictions of this program's own steps compare.
struct OwnCheck {
  std::vector<OwnCell> cells;
  double mean_error = 0;  ///< Mean of |predicted / measured - 1|.
  double rates_error = 0;
  std::size_t held = 0;   ///< Cells that the 90 % interval holds.
  std::size_t exact = 0;  ///< Cells whose bytes over all axes are those.
  double half_width = 0;  ///< Median.
  double memory_mean = 0;
  double memory_worst = 0;
  /// Over groups of cells of one model and precision: what the layout that is
  /// predicted to be the fastest costs more than the fastest.
  double choice_worst = 0;
  std::size_t groups = 0;
};

/// `tests`, predicted from `runs`; without any, those of each shape
/// of a model (`study::shape_of`) from the others.
OwnCheck check_own(const std::vector<study::OwnRun>& runs,
                   const std::vector<study::OwnRun>& tests);

std::string table_of(const OwnCheck& check, std::size_t columns);
std::string json_of(const OwnCheck& check);

}  // namespace mumoe::launch
