#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace mumoe::train {

void ScheduleConfig::validate() const {
  require(lr > 0 && std::isfinite(lr),
          "optimizer.lr = {}: expected a positive number",
          lr);
  require(min_lr >= 0 && min_lr <= lr,
          "schedule.min_lr = {}: expected between 0 and optimizer.lr = {}",
          min_lr,
          lr);
  require(warmup >= 0, "schedule.warmup = {}: expected at least 0", warmup);
  require(steps > 0, "schedule.steps = {}: expected at least 1", steps);
  require(kind == ScheduleKind::constant || warmup <= steps,
          "schedule.warmup = {}: longer than the whole schedule, {} steps",
          warmup,
          steps);
}

double ScheduleConfig::rate(std::int64_t step) const {
  if (step < warmup) {
    return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  }
  if (kind == ScheduleKind::constant) return lr;
  const double length =
      static_cast<double>(std::max<std::int64_t>(1, steps - warmup));
  const double done =
      std::min(1.0, static_cast<double>(step - warmup) / length);
  const double share = kind == ScheduleKind::linear
                           ? 1 - done
                           : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return min_lr + share * (lr - min_lr);
}

}  // namespace mumoe::train
