#include "dist/watch/watchdog.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "base/error.h"
#include "base/thread_signals.h"
#include "dist/process_mesh.h"
#include "dist/watch/ask.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

constexpr auto kTick = 50ms;
constexpr int kTicksPerPoll = 4;
// A tick that came later than this: the process had been stopped.
constexpr auto kJump = 1'000ms;
// What the ranks' threads get to go on after that.
constexpr auto kSettle = 2'000ms;
// How long communicators may take to abort.
constexpr auto kAbort = 5'000ms;
std::string seconds(std::chrono::steady_clock::duration time) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(time).count());
}

std::string bytes_text(std::int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string rank_text(const ProcessMesh& mesh) {
  return fmt::format("rank {} of {} (dp {}/{} tp {}/{})",
                     mesh.control().rank(),
                     mesh.control().size(),
                     mesh.dp().rank(),
                     mesh.dp().size(),
                     mesh.tp().rank(),
                     mesh.tp().size());
}

// "ended", "not ended", or the text of what asking `work` throws.
std::string state_of(const Work& work) {
  try {
    return work.done() ? "ended" : "not ended";
  } catch (const std::exception& error) {
    return fmt::format("failed ({})", error.what());
  }
}

// What `ask` returns or, when it throws, the text of that.
std::string text_of(const std::function<std::string()>& ask) {
  try {
    return ask();
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string first_text(
    const std::vector<std::function<std::string()>>& questions) {
  for (const auto& ask : questions) {
    std::string text = text_of(ask);
    if (!text.empty()) return text;
  }
  return {};
}

}  // namespace

Deadlines Deadlines::of(std::chrono::milliseconds base) {
  return {.start = 2 * base,
          .first_step = 2 * base,
          .step = base,
          .evaluation = base,
          .checkpoint = base};
}

std::chrono::milliseconds Deadlines::longest() const {
  return std::max({start, first_step, step, evaluation, checkpoint});
}

Watchdog::Watchdog(const ProcessMesh& mesh, Options options)
    : rank_(rank_text(mesh)), options_(std::move(options)) {
  MUMOE_CHECK(options_.print && options_.end);
  thread_ = std::thread([this] {
    block_signals();
    loop();
  });
}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
  // Most go before what they ask does.
  if (polling_.valid()) polling_.wait_for(kAnswer);
}

void Watchdog::phase(std::string_view name) {
  std::lock_guard lock(mutex_);
  const Stage stage = stage_of(name);
  const bool in_step = stage == Stage::step || stage == Stage::first_step;
  const bool same_step = in_step && stage == stage_;
  const bool new_step = in_step && name == "load" && phase_ != "backward";
  phase_ = name;
  phase_begun_ = time();
  if (!same_step || new_step) {
    stage_ = in_step && stepped_ ? Stage::step : stage;
    stage_begun_ = phase_begun_;
    stepped_ |= in_step;
  }
}

// A step that has not ended keeps its kind; a new one is never the first again.
Watchdog::Stage Watchdog::stage_of(std::string_view name) const {
  if (name == "start") return Stage::start;
  if (name == "data") return Stage::data;
  if (name == "evaluation" || name == "bench") return Stage::evaluation;
  if (name == "checkpoint") return Stage::checkpoint;
  if (stage_ == Stage::first_step || !stepped_) return Stage::first_step;
  return Stage::step;
}

void Watchdog::begin(const Communicator& group, const Collective& collective) {
  std::lock_guard lock(mutex_);
  Last& last = last_of(group);
  newest_ = static_cast<std::size_t>(&last - groups_.data());
  last.collective = collective;
  last.begun = time();
  last.started = false;
}

Work Watchdog::started(const Communicator& group,
                       const Collective&,
                       Work work) {
  Work before;  // let go without the mutex: it may hold the last of a tensor
  std::lock_guard lock(mutex_);
  Last& last = last_of(group);
  last.started = true;
  before = std::exchange(last.work, work);
  return work;
}

Watchdog::Last& Watchdog::last_of(const Communicator& group) {
  const auto found = std::ranges::find(groups_, &group, &Last::group);
  if (found != groups_.end()) return *found;
  Last& last = groups_.emplace_back();
  last.group = &group;
  last.axis = group.axis();
  return last;
}

Watchdog::Duration Watchdog::limit() const {
  const Deadlines& d = options_.deadlines;
  switch (stage_) {
    case Stage::start:
      return d.start;
    case Stage::data:
      return Duration(0);
    case Stage::first_step:
      return d.first_step;
    case Stage::step:
      return d.step;
    case Stage::evaluation:
      return d.evaluation;
    case Stage::checkpoint:
      return d.checkpoint;
  }
  return Duration(0);
}

Watchdog::Duration Watchdog::time() const {
  const Duration passed = Clock::now() - last_tick_;
  return ran_ + (passed > kJump ? Duration(kTick) : passed);
}

void Watchdog::tick() {
  const auto now = Clock::now();
  const bool jumped = now - last_tick_ > kJump;
  ran_ += jumped ? Duration(kTick) : now - last_tick_;
  last_tick_ = now;
  if (jumped) settled_ = ran_ + kSettle;
}

void Watchdog::loop() {
  std::unique_lock lock(mutex_);
  for (int ticks = 1; !stop_; ++ticks) {
    changed_.wait_for(lock, kTick, [this] { return stop_; });
    if (stop_) return;
    tick();
    if (options_.ending && options_.ending()) {
      changed_.wait_for(lock, options_.ended, [this] { return stop_; });
      if (stop_) return;  // who stops it knows as well
      return options_.end();
    }
    if (ran_ < settled_) continue;
    const bool expired =
        limit() > Duration(0) && ran_ - stage_begun_ >= limit();
    const Place here = expired ? place() : Place();
    Duration grace = options_.grace;
    if (expired) grace = std::max(grace, options_.least - limit());
    lock.unlock();
    std::string line;
    if (expired) {
      line = fmt::format("{}: {}", rank_, describe(here));
      const auto note =
          answer_of([ask = options_.note] { return ask ? text_of(ask) : ""; },
                    std::string());
      if (!note.empty()) line += "; " + note;
    } else {
      line = failed_poll(/*due=*/ticks % kTicksPerPoll == 0);
    }
    if (!line.empty()) return end_job(line, grace);
    lock.lock();
  }
}

// The line for what has failed; empty: nothing. Asks anew when that is `due`
// and nothing is under way.
std::string Watchdog::failed_poll(bool due) {
  if (!polling_.valid()) {
    if (due && !options_.polls.empty()) {
      polling_ =
          start_aside([polls = options_.polls] { return first_text(polls); });
    }
    return {};
  }
  if (polling_.wait_for(0s) != std::future_status::ready) return {};
  const std::string text = polling_.get();
  if (text.empty()) return {};
  std::unique_lock lock(mutex_);
  const Place here = place();
  lock.unlock();
  return fmt::format("{}: {}; {}", rank_, text, describe(here));
}

Watchdog::Place Watchdog::place() const {
  std::string text =
      fmt::format("phase {} for {}", phase_, seconds(time() - phase_begun_));
  if (stage_ == Stage::step || stage_ == Stage::first_step) {
    text += fmt::format(", its {} for {}",
                        stage_ == Stage::step ? "step" : "first step",
                        seconds(time() - stage_begun_));
  }
  if (limit() > Duration(0)) {
    text += fmt::format(", deadline {:g} s",
                        std::chrono::duration<double>(limit()).count());
  }
  return {std::move(text), groups_, newest_, time()};
}

// "phase backward for 29.7 s, its step for 30.0 s, deadline 30 s; last
// collective ..."
std::string Watchdog::describe(const Place& place) {
  const auto& groups = place.groups;
  if (groups.empty()) return place.phase + "; no collective yet";
  using Texts = std::vector<std::string>;
  const Texts states = answer_of(
      [groups] {
        Texts found;
        for (const Last& last : groups) {
          found.push_back(last.started ? state_of(last.work) : "not ended");
        }
        return found;
      },
      Texts(groups.size(), "state unknown"));
  const auto text_at = [&](std::size_t i) {
    const Collective& c = groups[i].collective;
    std::string text = fmt::format("{} #{}", to_string(c.op), c.sequence);
    if (c.op != Op::barrier) text += " of " + bytes_text(c.bytes);
    return fmt::format("{} on axis {}, begun {} ago, {}",
                       text,
                       groups[i].axis,
                       seconds(place.now - groups[i].begun),
                       states[i]);
  };
  std::string text = place.phase + "; last collective " + text_at(place.newest);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const bool open = states[i] != "ended";
    if (open && i != place.newest) text += "; also " + text_at(i);
  }
  return text;
}

void Watchdog::end_job(const std::string& line, Duration grace) const {
  options_.print(line);
  std::this_thread::sleep_for(grace);
  const auto aborted = start_aside([aborts = options_.aborts] {
    for (const auto& abort : aborts) {
      try {
        abort();
      } catch (const std::exception&) {
        // The job ends either way.
      }
    }
  });
  if (aborted.valid()) aborted.wait_for(kAbort);
  options_.end();
}

}  // namespace mumoe::dist
