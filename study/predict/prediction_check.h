#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "study/predict/predictor.h"

namespace mumoe::study {

/// How predictions compare with what was measured.
struct PredictionScore {
  std::size_t runs = 0;
  double mean_error = 0;   ///< mean of |predicted / measured - 1|
  double error_90 = 0;     ///< nine of ten are below
  double mean_signed = 0;  ///< below 0: predicted too fast
  double rates_error = 0;  ///< mean error of the rates alone
  double held = 0;         ///< share of runs that the 90 % interval holds
  double half_width = 0;   ///< median of the intervals'
};

/// What it costs to take the layout (tp, dp, micro-batch) that is predicted to
/// be the fastest, over groups of runs that differ in it alone.
struct ChoiceScore {
  std::size_t groups = 0;
  double mean_cost = 0;  ///< measured time / that of the best - 1
  double worst_cost = 0;
};

/// What is kept back together, to be predicted from the rest.
enum class Kept {
  rows,   ///< single runs
  cells,  ///< all runs of a width, tp and micro-batch
  tp,     ///< all runs of a tp
};

struct PredictionCheck {
  PredictionScore score;
  ChoiceScore choice;
};

/// Each of five parts of `runs`, dealt by `seed`, predicted from the four
/// others; with `Kept::tp` as many parts as there are tp. Nothing where there
/// is only one thing to keep back.
std::optional<PredictionCheck> check_folds(std::span<const MeasuredRun> runs,
                                           const Machine& machine,
                                           Kept kept,
                                           std::uint64_t seed);

/// `others` predicted from all of `runs`.
PredictionCheck check_others(std::span<const MeasuredRun> runs,
                             std::span<const MeasuredRun> others,
                             const Machine& machine);

}  // namespace mumoe::study
