#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/watch/observer.h"

namespace mumoe::dist {

class TraceEvents;

/// What a trace holds at most.
struct TraceLimits {
  std::int64_t steps = 20;
  std::size_t operations = 20'000;
};

/// How far the reduction of gradients is hidden behind the backward pass.
struct GradientOverlap {
  std::int64_t steps = 0;
  /// Seconds in which at least one operation on gradients was under way.
  double busy_s = 0;
  /// Seconds in which the run waited for one: what is not hidden.
  double wait_s = 0;

  /// Share of the communication that is exposed; 0 without any.
  double exposed() const { return busy_s > 0 ? wait_s / busy_s : 0; }
};

/// Records the first steps of a run as a Chrome trace (chrome://tracing,
/// ui.perfetto.dev): a row of steps, one of phases, one of waits, and for each
/// axis as many rows as it has operations under way at once. Times are
/// microseconds since the trace was made; pid is the world rank. A step begins
/// with the phase "load", unless that follows "backward": then it is the next
/// micro-batch of the same step.
///
/// Operations on gradients are those that begin in the phase "backward" on the
/// axes dp and all. An operation lasts until its `Work` says
/// that it ended; where a backend does not say, until the first look after
/// that, at a change of phase or after a wait. On a GPU, where the host does
/// not wait, operations and waits are those of its streams, read when the trace
/// ends; steps and phases are the host's, which is ahead.
///
/// Must be the last observer of its mesh, so that it sees the operations as the
/// others leave them.
/// Thread safety: operations may begin, and be waited for, in several threads.
class Trace final : public Observer {
 public:
  /// Collective over `world`, whose ranks take the same moment as zero. Opens
  /// `file`, or "file.rank3" in a world of several; throws `InputError` when
  /// that cannot be written.
  Trace(std::filesystem::path file, Communicator& world, TraceLimits = {});
  /// Writes what there is, if `finish` has not; what fails then is lost.
  ~Trace() override;

  /// Until the end.
  bool wants_device_times() const override;
  void phase(std::string_view name) override;
  void begin(const Communicator& group, const Collective&) override;
  Work started(const Communicator& group,
               const Collective& collective,
               Work work) override;

  /// Ends the trace and writes it. It does so by itself when the last step of
  /// its limit is over; a failure then is kept for this call. Throws
  /// `InputError` when the file could not be written.
  void finish();

  const std::filesystem::path& file() const { return file_; }
  /// Of the steps that the trace holds; after `finish`.
  GradientOverlap gradient_overlap() const;

 private:
  using Time = Work::Clock::time_point;
  struct Span {
    std::string name;
    std::int64_t step = 0;
    Time begin;
    Time end;
  };
  class Operation;

  void finish_locked(Time now);
  std::string text(Time now);
  void add_phases(TraceEvents& events) const;
  void add_steps(TraceEvents& events, Time now);
  void add_operations(TraceEvents& events, Time now) const;
  GradientOverlap overlap(std::int64_t step, Time now) const;

  std::filesystem::path file_;
  int rank_;
  TraceLimits limits_;
  Time origin_;

  mutable std::mutex mutex_;
  bool finished_ = false;
  bool written_ = false;
  std::int64_t step_ = 0;
  std::vector<Span> phases_;  ///< The last one is open.
  std::map<const Communicator*, Time> begun_;
  std::vector<std::shared_ptr<Operation>> operations_;
  std::size_t ended_ = 0;  ///< So many of them, from the front, have ended.
  std::size_t left_out_ = 0;
  GradientOverlap overlap_;
};

}  // namespace mumoe::dist
