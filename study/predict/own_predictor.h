#pragma once

#include <map>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "study/predict/local_correction.h"
#include "study/predict/own_runs.h"
#include "study/predict/predictor.h"
#include "study/predict/step_time.h"
#include "study/predict/step_work.h"

namespace mumoe::study {

/// Step times and memory of this program on the CPUs of one machine: rates
/// fitted to what was measured there, and what they leave corrected near what
/// was measured. The interval is as wide as shapes that were kept back need it.
class OwnPredictor {
 public:
  /// Values that were fitted, and what they leave.
  struct Learnt {
    std::vector<double> values;
    LocalCorrection left;
  };

  /// `runs`: at least two, of one machine of so many cores.
  explicit OwnPredictor(
      std::span<const OwnRun> runs,
      int cores = static_cast<int>(std::thread::hardware_concurrency()));

  /// Of a run whose seconds, memory and peak nobody needs to know. Throws
  /// `InputError` for more ranks than cores and than were measured: what ranks
  /// take that share a core, others do not tell.
  Prediction predict(const OwnRun& run) const;
  /// The same by the rates alone.
  StepTime by_rates(const OwnRun& run) const;
  /// Of a rank, bytes.
  double memory_bytes(const OwnRun& run) const;
  /// Of a rank, FLOP/s: what mfu compares with.
  double peak_flops(at::ScalarType dtype) const;
  /// In what a run computes; `automatic`: bf16 where that was measured to
  /// multiply faster, as training would find.
  at::ScalarType dtype_for(run::Precision precision) const;

 private:
  /// A run, ready to be predicted.
  struct Known {
    RunCost cost;
    StepWork work;
    std::vector<double> place;
    int ranks;
    bool images;  ///< Of a data set that its process holds.
    at::ScalarType dtype;
    double seconds, rss_bytes;
    std::string shape;  ///< Of the model: what is kept back together.
  };
  static Known know(const OwnRun& run);

  /// Of some of the runs.
  struct Fitted {
    Learnt times, memory;
  };
  /// The scales of corrections are the likeliest, or those of another fit.
  Fitted fit_to(const std::vector<const Known*>& knowns,
                const Fitted* with_scales_of) const;
  StepTime seconds_of(const Known& known, std::span<const double> values) const;
  /// How much wider intervals must be to hold nine of ten of what is kept back.
  double widening(const std::vector<Known>& knowns) const;

  std::map<at::ScalarType, double> peaks_;
  int most_ranks_;
  Fitted fitted_;
  double wider_ = 1;
};

}  // namespace mumoe::study
