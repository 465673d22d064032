#pragma once

#include <span>

#include "study/predict/dense_gpt.h"
#include "study/predict/fit.h"
#include "study/predict/local_correction.h"

namespace mumoe::study {

/// A step time, in seconds, and the interval that holds what would be measured
/// nine times of ten.
struct Prediction {
  double seconds = 0;
  double low = 0, high = 0;

  bool holds(double measured) const {
    return low <= measured && measured <= high;
  }
  /// Of the interval, as a share of `seconds`.
  double half_width() const { return (high - low) / 2 / seconds; }
};

/// Step times of dense GPTs: rates fitted to measured runs, and what they leave
/// corrected near what was measured (predict/README.md).
class Predictor {
 public:
  /// `runs` were measured on `machine`.
  Predictor(std::span<const MeasuredRun> runs, const Machine& machine);

  Prediction predict(const MeasuredRun& run) const;
  /// The same by the rates alone.
  StepTime by_rates(const MeasuredRun& run) const;

  const Rates& rates() const { return rates_; }
  const LocalCorrection& correction() const { return correction_; }

 private:
  LocalCorrection correction_of(std::span<const MeasuredRun> runs) const;
  /// How uncertain the logarithm of a time is since nobody measured the links
  /// between nodes.
  double link_deviation(const MeasuredRun& run) const;

  Machine machine_;
  Rates rates_;
  LocalCorrection correction_;
};

}  // namespace mumoe::study
