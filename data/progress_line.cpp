#include "data/progress_line.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace mumoe::data {

ProgressLine::ProgressLine(std::string what, Goal goal, Duration every)
    : what_(std::move(what)), goal_(std::move(goal)), every_(every) {}

void ProgressLine::add(std::uint64_t amount) {
  const std::lock_guard lock(mutex_);
  done_ += amount;
  const auto now = std::chrono::steady_clock::now();
  if (now - told_ < every_) return;
  told_ = now;
  const std::string of =
      goal_.total > 0 ? fmt::format(" of {}", goal_.total / goal_.unit) : "";
  const std::string line = fmt::format("mumoe: {}: {}{} {}\n",
                                       what_,
                                       done_ / goal_.unit,
                                       of,
                                       goal_.units);
  std::fputs(line.c_str(), stderr);
}

}  // namespace mumoe::data
