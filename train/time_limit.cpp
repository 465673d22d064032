#include "train/time_limit.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace mumoe::train {
namespace {

double seconds(TimeLimit::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::chrono::steady_clock::time_point process_began() {
  const auto now = TimeLimit::Clock::now();
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // Field 22; the second, in brackets, may hold anything.
  std::istringstream fields(
      line.substr(std::min(line.rfind(')'), line.size())));
  std::string field;
  for (int i = 2; i < 22; ++i) fields >> field;
  double ticks = 0;  // since the system's start
  timespec up{};
  if (!(fields >> ticks) || clock_gettime(CLOCK_BOOTTIME, &up) != 0) return now;
  const double age = static_cast<double>(up.tv_sec) + 1e-9 * up.tv_nsec -
                     ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  return now - std::chrono::duration_cast<TimeLimit::Clock::duration>(
                   std::chrono::duration<double>(std::max(age, 0.0)));
}

TimeLimit::TimeLimit(double minutes,
                     Clock::time_point began,
                     std::function<Clock::time_point()> now)
    : limit_s_(60 * minutes), began_(began), now_(std::move(now)) {}

void TimeLimit::saved(double seconds) {
  longest_save_s_ = std::max(longest_save_s_, seconds);
}

void TimeLimit::phase(std::string_view name) {
  if (limit_s_ <= 0) return;
  if (name == "load" && !in_step_) {
    in_step_ = true;
    step_began_ = now_();
  } else if (name == "report" && in_step_) {
    longest_step_s_ = std::max(longest_step_s_, seconds(now_() - step_began_));
  }
  const bool of_step = name == "load" || name == "forward" ||
                       name == "backward" || name == "check" ||
                       name == "update";
  in_step_ = in_step_ && of_step;
  may_begin_ = name == "check";
}

bool TimeLimit::reached() {
  if (limit_s_ <= 0) return false;
  double need = longest_save_s_;
  if (may_begin_) {
    // The step that ends here may be the longest so far, and the next as long.
    const double step = in_step_ ? seconds(now_() - step_began_) : 0;
    need += std::max(longest_step_s_, step);
  }
  stops_ = stops_ || seconds(now_() - began_) + need >= limit_s_;
  return stops_;
}

}  // namespace mumoe::train
