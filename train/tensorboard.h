#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "run/train_config.h"
#include "train/event_file.h"
#include "train/metrics.h"

namespace mumoe::train {

/// Where the event files of a run lie, as `config.tensorboard` says: in
/// `config.out`, or in a folder of its name; none: nowhere.
std::optional<std::filesystem::path> event_folder(
    const run::TrainerConfig& config);

/// Seconds since 1970 of a `StepReport::time`; 0 where it is none.
double seconds_of(const std::string& time);

/// A run as TensorBoard shows it: scalars of each step (loss/train,
/// loss/validation, grad_norm, lr, tokens_per_s, step_ms, mfu, sol, tokens,
/// elapsed_s, experts/LAYER/active, ...) and, where they are known, histograms
/// of each gate: experts/LAYER/load (an expert's mean coefficient over that of
/// an even load) and experts/LAYER/largest (the largest coefficient of a
/// token).
class TensorBoard {
 public:
  /// Goes on behind the first `steps` steps: what the run's event files in
  /// `folder` have of later ones is cut off. Throws `InputError` naming a file.
  TensorBoard(std::filesystem::path folder, std::int64_t steps);

  void write(const StepReport& report);
  void write(std::int64_t step, double wall_time, const Evaluation& evaluation);
  /// What the model wrote after that step.
  void write_text(std::int64_t step, double wall_time, const std::string& text);
  /// The run goes back behind step `steps`.
  void go_back(std::int64_t steps);
  const std::string& problem() const { return file_->problem(); }

 private:
  std::filesystem::path folder_;
  std::optional<EventFile> file_;
};

}  // namespace mumoe::train
