#include "dist/watch/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <utility>

#include "base/error.h"
#include "dist/watch/trace_events.h"

namespace mumoe::dist {
namespace {

using Clock = Work::Clock;
using Time = Clock::time_point;
using Interval = std::pair<Time, Time>;

enum Row : int { kSteps, kPhases, kWaits, kFirstOfAxes };

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// Seconds that at least one of the intervals covers.
double covered(std::vector<Interval> intervals) {
  std::sort(intervals.begin(), intervals.end());
  Clock::duration sum{};
  Time reached{};
  for (const auto& [begin, end] : intervals) {
    const Time from = std::max(begin, reached);
    if (end > from) sum += end - from;
    reached = std::max(reached, end);
  }
  return seconds(sum);
}

std::filesystem::path file_of(std::filesystem::path file,
                              const Communicator& world) {
  if (world.size() > 1) file += fmt::format(".rank{}", world.rank());
  return file;
}

}  // namespace

/// One operation as the trace saw it, and the `Work` that its caller waits for.
class Trace::Operation final : public Work::State {
 public:
  Operation(const Communicator& group,
            const Collective& collective,
            const Span& phase,
            Time begin,
            Work work)
      : axis_(group.axis()),
        collective_(collective),
        phase_(phase.name),
        step_(phase.step),
        work_(std::move(work)),
        begin_(begin) {
    look(Clock::now());
  }

  void wait() override {
    if (work_.done()) {
      work_.wait();  // may throw, and may order streams
      return;
    }
    struct Record {  // when waiting throws, too
      Operation& self;
      Time from;
      ~Record() {
        const Time now = Clock::now();
        self.look(now);
        std::lock_guard lock(self.mutex_);
        self.waits_.emplace_back(from, now);
      }
    } const record{*this, Clock::now()};
    work_.wait();
  }
  bool done() override { return work_.done(); }
  std::optional<Time> ended() override { return work_.ended(); }

  /// Notes the end, if it has come; true if so.
  bool look(Time now) {
    std::lock_guard lock(mutex_);
    if (end_) return true;
    try {
      if (work_.done()) end_ = work_.ended().value_or(now);
    } catch (const std::exception&) {
      end_ = now;  // it has failed, which whoever waits for it gets to know
    }
    return end_.has_value();
  }

  /// Puts what the device did in place of what the host saw of it.
  void look_at_device() {
    std::lock_guard lock(mutex_);
    try {
      const auto times = work_.device_times();
      if (!times) return;
      begin_ = times->begin;
      end_ = times->end;
      waits_.clear();
      for (const Time from : times->waits) waits_.emplace_back(from, *end_);
    } catch (const std::exception&) {
      // It has failed: the host's times stand.
    }
  }

  const std::string& axis() const { return axis_; }
  std::int64_t step() const { return step_; }
  bool on_gradients() const {
    return (axis_ == "dp" || axis_ == "all") && phase_ == "backward";
  }
  /// Until `now` if it is under way.
  Interval span(Time now) const {
    std::lock_guard lock(mutex_);
    return {begin_, std::max(begin_, end_.value_or(now))};
  }
  std::vector<Interval> waits() const {
    std::lock_guard lock(mutex_);
    return waits_;
  }
  std::string name() const { return std::string(to_string(collective_.op)); }
  std::string args() const {
    return fmt::format(R"("axis":"{}","sequence":{},"bytes":{},"elements":{},)"
                       R"("dtype":"{}","step":{},"phase":"{}","gradients":{})",
                       axis_,
                       collective_.sequence,
                       collective_.bytes,
                       collective_.elements,
                       c10::toString(collective_.dtype),
                       step_,
                       phase_,
                       on_gradients());
  }

 private:
  const std::string axis_;
  const Collective collective_;
  const std::string phase_;
  const std::int64_t step_;
  const Work work_;
  mutable std::mutex mutex_;
  Time begin_;
  std::optional<Time> end_;
  std::vector<Interval> waits_;
};

Trace::Trace(std::filesystem::path file,
             Communicator& world,
             TraceLimits limits)
    : file_(file_of(std::move(file), world)),
      rank_(world.rank()),
      limits_(limits) {
  require(std::ofstream(file_).good(),
          "trace = {}: cannot write this file",
          file_.string());
  world.barrier();
  origin_ = Clock::now();
  phases_.push_back({.name = "start", .begin = origin_, .end = origin_});
}

Trace::~Trace() {
  try {
    finish();
  } catch (const std::exception&) {
    // The run may be ending by an error of its own, which counts for more.
  }
}

bool Trace::wants_device_times() const {
  const std::lock_guard lock(mutex_);
  return !finished_;
}

void Trace::phase(std::string_view name) {
  std::lock_guard lock(mutex_);
  if (finished_) return;
  const Time now = Clock::now();
  while (ended_ < operations_.size() && operations_[ended_]->look(now)) {
    ++ended_;
  }
  phases_.back().end = now;
  if (name == "load" && phases_.back().name != "backward") ++step_;
  if (step_ > limits_.steps) {
    finish_locked(now);
    return;
  }
  phases_.push_back(
      {.name = std::string(name), .step = step_, .begin = now, .end = now});
}

void Trace::begin(const Communicator& group, const Collective&) {
  std::lock_guard lock(mutex_);
  if (!finished_) begun_[&group] = Clock::now();
}

Work Trace::started(const Communicator& group,
                    const Collective& collective,
                    Work work) {
  std::lock_guard lock(mutex_);
  if (finished_) return work;
  if (operations_.size() == limits_.operations) {
    ++left_out_;
    return work;
  }
  operations_.push_back(std::make_shared<Operation>(group,
                                                    collective,
                                                    phases_.back(),
                                                    begun_[&group],
                                                    std::move(work)));
  return Work(operations_.back());
}

void Trace::finish() {
  std::lock_guard lock(mutex_);
  if (!finished_) finish_locked(Clock::now());
  require(written_, "trace = {}: cannot write this file", file_.string());
}

GradientOverlap Trace::gradient_overlap() const {
  std::lock_guard lock(mutex_);
  return overlap_;
}

void Trace::finish_locked(Time now) {
  finished_ = true;
  phases_.back().end = now;
  for (const auto& operation : operations_) {
    operation->look(now);
    operation->look_at_device();
  }
  std::ofstream out(file_);
  out << text(now);
  out.close();
  written_ = out.good();
  operations_.clear();
  phases_.clear();
}

GradientOverlap Trace::overlap(std::int64_t step, Time now) const {
  std::vector<Interval> spans, waits;
  for (const auto& operation : operations_) {
    if (operation->step() != step || !operation->on_gradients()) continue;
    spans.push_back(operation->span(now));
    const auto waited = operation->waits();
    waits.insert(waits.end(), waited.begin(), waited.end());
  }
  return {1, covered(std::move(spans)), covered(std::move(waits))};
}

std::string Trace::text(Time now) {
  TraceEvents events(rank_, origin_);
  if (left_out_ > 0) {
    events.label(fmt::format("{} operations left out", left_out_));
  }
  add_phases(events);
  add_steps(events, now);
  add_operations(events, now);
  return events.text();
}

void Trace::add_phases(TraceEvents& events) const {
  events.name_row(kPhases, "phases");
  for (const Span& phase : phases_) {
    events.span(kPhases,
                phase.name,
                phase.begin,
                phase.end,
                fmt::format(R"("step":{})", phase.step));
  }
}

void Trace::add_steps(TraceEvents& events, Time now) {
  events.name_row(kSteps, "steps");
  for (auto first = phases_.begin(); first != phases_.end();) {
    const auto next = std::find_if(first, phases_.end(), [&](const Span& p) {
      return p.step != first->step;
    });
    if (first->step > 0) {
      const GradientOverlap found = overlap(first->step, now);
      ++overlap_.steps;
      overlap_.busy_s += found.busy_s;
      overlap_.wait_s += found.wait_s;
      events.span(kSteps,
                  fmt::format("step {}", first->step),
                  first->begin,
                  std::prev(next)->end,
                  fmt::format(R"("gradients_ms":{:.3f},"waited_ms":{:.3f},)"
                              R"("exposed":{:.4f})",
                              1e3 * found.busy_s,
                              1e3 * found.wait_s,
                              found.exposed()));
    }
    first = next;
  }
}

void Trace::add_operations(TraceEvents& events, Time now) const {
  // A row of one axis, which is free again at some time: operations that
  // overlap need several.
  struct Lane {
    std::string axis;
    Time free;
  };
  std::vector<Lane> lanes;
  events.name_row(kWaits, "waits");
  for (const auto& operation : operations_) {
    const auto [begin, end] = operation->span(now);
    auto lane = std::find_if(lanes.begin(), lanes.end(), [&](const Lane& l) {
      return l.axis == operation->axis() && l.free <= begin;
    });
    const int row = kFirstOfAxes + static_cast<int>(lane - lanes.begin());
    if (lane == lanes.end()) {
      events.name_row(row, operation->axis());
      lane = lanes.insert(lane, {operation->axis(), end});
    }
    lane->free = end;
    events.span(row, operation->name(), begin, end, operation->args());
    for (const auto& [from, to] : operation->waits()) {
      events.span(kWaits, operation->name(), from, to, operation->args());
    }
  }
}

}  // namespace mumoe::dist
