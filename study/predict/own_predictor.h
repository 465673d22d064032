#pragma once

#include <span>
#include <vector>

#include "study/predict/local_correction.h"
#include "study/predict/own_runs.h"
#include "study/predict/predictor.h"
#include "study/predict/step_time.h"

namespace mumoe::study {

/// Step times of this program on the CPUs of one machine: rates fitted to what
/// was measured there, and what they leave corrected near what was measured.
class OwnPredictor {
 public:
  /// `runs`: at least two, of one machine.
  explicit OwnPredictor(std::span<const OwnRun> runs);

  /// Of a run whose seconds nobody needs to know.
  Prediction predict(const OwnRun& run) const;
  /// The same by the rates alone.
  StepTime by_rates(const OwnRun& run) const;
  /// Of a rank, bytes: what is estimated, and what processes were found to hold
  /// besides.
  double memory_bytes(const OwnRun& run) const;
  const Rates& rates() const { return rates_; }

 private:
  void fit_rates_to(std::span<const OwnRun> runs);
  LocalCorrection correction_of(std::span<const OwnRun> runs) const;

  Rates rates_;
  double link_bandwidth_ = 0;
  double program_bytes_ = 0;
  LocalCorrection correction_;
};

}  // namespace mumoe::study
