#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace mumoe::train {
namespace {

/// How much of the way from `min_lr` to `lr` is left when `done` of it, from 0
/// to 1, has been gone.
double share_left(run::ScheduleKind kind, double done) {
  switch (kind) {
    case run::ScheduleKind::constant:
      return 1;
    case run::ScheduleKind::linear:
      return 1 - done;
    case run::ScheduleKind::wsd:
      return 1 - std::sqrt(done);
    case run::ScheduleKind::cosine:
      break;
  }
  return 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace

double learning_rate(const run::ScheduleConfig& schedule, std::int64_t step) {
  const auto& [kind, lr, min_lr, warmup, steps, decay] = schedule;
  if (step < warmup) {
    return lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  }
  if (kind == run::ScheduleKind::constant) return lr;
  if (step >= steps) return min_lr;
  const bool stable_first = kind == run::ScheduleKind::wsd;
  const std::int64_t first = stable_first ? steps - decay : warmup;
  // No arithmetic: not a bit differs between schedules of several lengths.
  if (step < first) return lr;
  const double done =
      static_cast<double>(step - first) / static_cast<double>(steps - first);
  return min_lr + share_left(kind, done) * (lr - min_lr);
}

}  // namespace mumoe::train
