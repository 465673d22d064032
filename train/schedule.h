#pragma once

#include <cstdint>

namespace mumoe::train {

enum class ScheduleKind { cosine, linear, constant };

/// Learning rate as a pure function of the step, so that a resumed run goes on
/// exactly where it stopped.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  /// The highest rate, reached at the end of the warm-up.
  double lr = 1e-3;
  double min_lr = 0;
  /// Steps of linear growth: step s has lr · (s + 1) / warmup.
  std::int64_t warmup = 0;
  /// Step at which `min_lr` is reached; later steps stay there.
  std::int64_t steps = 1;

  /// Throws `InputError` naming the key and what it must be.
  void validate() const;
  /// The rate of step `step`, counted from 0.
  double rate(std::int64_t step) const;
};

}  // namespace mumoe::train
