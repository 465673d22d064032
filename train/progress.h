#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "train/metrics.h"

namespace mumoe::train {

/// What a person sees of a run: on a terminal one live line, elsewhere a plain
/// line every `every` steps. Only rank 0 shows any.
class Progress {
 public:
  /// `steps`: where the run ends. `said`: called with each line that stays.
  /// `experts`: lines end with the newest figures of experts.
  Progress(bool shown,
           std::int64_t steps,
           std::int64_t every,
           std::function<void(const std::string&)> said,
           bool experts = false);
  ~Progress();

  void show(const StepReport& report);
  /// A line of its own, which stays.
  void note(const std::string& line);

 private:
  void clear_live_line();
  void say(const std::string& line);

  bool shown_;
  bool terminal_;
  std::int64_t steps_;
  std::int64_t every_;
  std::function<void(const std::string&)> said_;
  bool show_experts_;
  std::string experts_;  ///< What lines end with.
  std::int64_t experts_step_ = 0;
  bool live_ = false;
  double mean_step_ms_ = 0;
};

}  // namespace mumoe::train
