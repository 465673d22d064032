#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "run/train_config.h"
#include "train/prometheus.h"
#include "train/tensorboard.h"

namespace mumoe::train {

/// What other programs may look at while a run goes on, beside metrics.jsonl:
/// event files of TensorBoard, and a file for Prometheus. Of rank 0 alone.
class RunFeeds {
 public:
  /// As `config` says, of a run that goes on behind step `step`. Throws
  /// `InputError` naming a file.
  RunFeeds(const run::TrainerConfig& config, std::int64_t step);

  void step(const StepReport& report);
  void evaluated(std::int64_t step, const Evaluation& evaluation);
  void sampled(std::int64_t step, const std::string& text);
  void bad_step(const BadStepReport& bad);
  void failed_save();
  void go_back(std::int64_t step);
  void finish();
  /// What cannot be written, and why; empty: nothing.
  std::string problem() const;

 private:
  std::optional<TensorBoard> board_;
  std::optional<PrometheusFile> prometheus_;
};

}  // namespace mumoe::train
