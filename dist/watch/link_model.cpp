#include "dist/watch/link_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "base/error.h"
#include "dist/communicator.h"

namespace mumoe::dist {
namespace {

using Clock = Work::Clock;

class SlowWork final : public Work::State {
 public:
  SlowWork(Work work,
           Clock::time_point end,
           std::chrono::milliseconds deadline,
           std::string what)
      : work_(std::move(work)),
        end_(end),
        deadline_(deadline),
        what_(std::move(what)) {}

  void wait() override {
    const auto start = Clock::now();
    work_.wait();
    if (deadline_.count() > 0 && end_ > start + deadline_) {
      std::this_thread::sleep_until(start + deadline_);
      fail<CommunicationError>(
          "{}: not finished after {} s on the model of a slow link",
          what_,
          deadline_.count() / 1000.0);
    }
    std::this_thread::sleep_until(end_);
  }
  bool done() override { return work_.done() && Clock::now() >= end_; }
  std::optional<Clock::time_point> ended() override {
    if (!done()) return std::nullopt;
    return std::max(end_, work_.ended().value_or(end_));
  }

 private:
  Work work_;
  Clock::time_point end_;
  std::chrono::milliseconds deadline_;
  std::string what_;
};

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [stop, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() ||
      !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

Work LinkModel::started(const Communicator& group,
                        const Collective& collective,
                        Work work) {
  const std::chrono::duration<double> cost(
      link_.seconds(collective.op, group.size(), collective.bytes));
  Clock::time_point end;
  {
    std::lock_guard lock(mutex_);
    free_ = std::max(free_, Clock::now()) +
            std::chrono::duration_cast<Clock::duration>(cost);
    end = free_;
  }
  return Work(std::make_shared<SlowWork>(
      std::move(work),
      end,
      group.deadline(),
      group.describe(collective.op, collective.sequence)));
}

Bandwidth parse_link(const std::string& text) {
  const std::string_view view = text;
  const auto comma = view.find(',');
  std::optional<double> latency, bandwidth;
  if (comma != view.npos) {
    latency = number(view.substr(0, comma));
    bandwidth = number(view.substr(comma + 1));
  }
  require(latency && bandwidth && *latency >= 0 && *bandwidth > 0,
          "link = {}: expected latency in microseconds and bandwidth "
          "in GB/s, such as 50,1.25",
          text);
  return {*latency / 1e6, *bandwidth * 1e9};
}

}  // namespace mumoe::dist
