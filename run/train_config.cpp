#include "run/train_config.h"

#include <cmath>

#include "base/error.h"

namespace mumoe::run {

void TrainerConfig::validate() const {
  require(steps > 0, "steps = {}: expected at least 1", steps);
  require(eval_every >= 0, "eval_every = {}: expected at least 0", eval_every);
  require(eval_windows > 0,
          "eval_windows = {}: expected at least 1",
          eval_windows);
  require(checkpoint_every >= 0,
          "checkpoint_every = {}: expected at least 0",
          checkpoint_every);
  require(checkpoint_minutes >= 0,
          "checkpoint_minutes = {}: expected at least 0",
          checkpoint_minutes);
  require(checkpoint_keep > 0,
          "checkpoint_keep = {}: expected at least 1",
          checkpoint_keep);
  require(checkpoint_parity == 0 || checkpoint_parity == 1,
          "checkpoint_parity = {}: expected 0 or 1",
          checkpoint_parity);
  require(spike >= 0 && std::isfinite(spike),
          "spike = {}: expected at least 0",
          spike);
  require(spike_window >= 8,
          "spike_window = {}: expected at least 8",
          spike_window);
  require(max_minutes >= 0 && std::isfinite(max_minutes),
          "max_minutes = {}: expected at least 0",
          max_minutes);
  require(log_every > 0, "log_every = {}: expected at least 1", log_every);
  require(experts_every >= 0,
          "experts_every = {}: expected at least 0",
          experts_every);
  require(sample_tokens >= 0,
          "sample_tokens = {}: expected at least 0",
          sample_tokens);
}

void OptimizerConfig::validate() const {
  const auto beta = [](const char* key, double value) {
    require(value >= 0 && value < 1,
            "{} = {}: expected at least 0 and below 1",
            key,
            value);
  };
  beta("beta1", beta1);
  beta("beta2", beta2);
  require(eps > 0, "eps = {}: expected more than 0", eps);
  require(weight_decay >= 0,
          "weight_decay = {}: expected at least 0",
          weight_decay);
  require(clip >= 0, "clip = {}: expected at least 0", clip);
}

void ScheduleConfig::validate() const {
  require(lr > 0 && std::isfinite(lr),
          "lr = {}: expected a positive number",
          lr);
  require(min_lr >= 0 && min_lr <= lr,
          "min_lr = {}: expected between 0 and lr = {}",
          min_lr,
          lr);
  require(warmup >= 0, "warmup = {}: expected at least 0", warmup);
  require(steps > 0, "steps = {}: expected at least 1", steps);
  require(kind == ScheduleKind::constant || warmup <= steps,
          "warmup = {}: longer than the whole schedule, {} steps",
          warmup,
          steps);
  if (kind != ScheduleKind::wsd) return;
  require(decay >= 0 && decay <= steps - warmup,
          "decay = {}: expected 0 to {}, what warmup = {} leaves of the "
          "schedule's {} steps",
          decay,
          steps - warmup,
          warmup,
          steps);
}

}  // namespace mumoe::run
