#pragma once

#include <chrono>
#include <functional>
#include <string_view>

#include "dist/watch/observer.h"

namespace mumoe::train {

/// When this process began, which is before its libraries were loaded and the
/// ranks found each other; now where the system does not tell.
std::chrono::steady_clock::time_point process_began();

/// The end of a run's time (train.max_minutes), which leaves room for what must
/// still be done: for the longest checkpoint so far and, where a step may
/// begin, for the longest step so far. It learns of steps by their phases
/// (`dist::ProcessMesh::observe`) and of checkpoints by `saved`. One rank's
/// answer is enough, rank 0's: another rank's clock may say something else.
///
/// Thread safety: called by the thread that trains.
class TimeLimit final : public dist::Observer {
 public:
  using Clock = std::chrono::steady_clock;

  /// `minutes` since `began`; 0: never. `now` tells the time.
  TimeLimit(double minutes,
            Clock::time_point began,
            std::function<Clock::time_point()> now = Clock::now);

  /// A checkpoint has taken so long.
  void saved(double seconds);
  /// "load" begins a step, "check" comes before the question whether another
  /// may begin, "report" ends the step, and anything else comes between steps.
  void phase(std::string_view name) override;

  /// Whether the run must stop now, so that it has saved before its time is
  /// over. Once it must, it must.
  bool reached();
  /// Whether `reached` has said so.
  bool stops() const { return stops_; }

 private:
  double limit_s_;
  Clock::time_point began_;
  std::function<Clock::time_point()> now_;
  Clock::time_point step_began_;
  bool in_step_ = false;
  bool may_begin_ = false;  ///< Whether the question is about another step.
  double longest_save_s_ = 0;
  double longest_step_s_ = 0;
  bool stops_ = false;
};

}  // namespace mumoe::train
