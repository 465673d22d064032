#pragma once

#include <cstdint>

#include "run/train_config.h"

namespace mumoe::train {

/// The learning rate of step `step`, counted from 0: a pure function of it, so
/// that a resumed run goes on exactly where it stopped.
double learning_rate(const run::ScheduleConfig& schedule, std::int64_t step);

}  // namespace mumoe::train
