#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mumoe::train {

double learning_rate(const run::ScheduleConfig& schedule, std::int64_t step) {
  const auto& [kind, lr, min_lr, warmup, steps] = schedule;
  if (step < warmup) {
    return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  }
  if (kind == run::ScheduleKind::constant) return lr;
  const double length =
      static_cast<double>(std::max<std::int64_t>(1, steps - warmup));
  const double done =
      std::min(1.0, static_cast<double>(step - warmup) / length);
  const double share = kind == run::ScheduleKind::linear
                           ? 1 - done
                           : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return min_lr + share * (lr - min_lr);
}

}  // namespace mumoe::train
