#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dist/watch/observer.h"

namespace mumoe::dist {

class ProcessMesh;

/// How long each stage of a run may take; zero: any time.
struct Deadlines {
  std::chrono::milliseconds start{0};
  /// Longer than a step: libraries tune themselves, memory is touched first.
  std::chrono::milliseconds first_step{0};
  /// Load, forward, backward, check and update together.
  std::chrono::milliseconds step{0};
  /// From one entry of the phase to the next: an evaluation may enter it anew
  /// for each batch.
  std::chrono::milliseconds evaluation{0};
  std::chrono::milliseconds checkpoint{0};

  /// `base` for each, twice that for the start and for the first step.
  static Deadlines of(std::chrono::milliseconds base);
  std::chrono::milliseconds longest() const;
};

/// A thread that ends the job when this rank is stuck, wherever: in a
/// collective, in computation, in a file system. When a stage of the run has
/// taken longer than its deadline, it prints one line,
///
///     rank 1 of 4 (dp 0/2 tp 1/2): phase backward for 29.7 s, its step for
///     30.0 s, deadline 30 s; last collective all_reduce #17 of 4.0 MiB on axis
///     dp, begun 29.8 s ago, not ended
///
/// waits for a grace in which the other ranks, stuck as well, print theirs,
/// aborts what it was given, and calls `end`. The phases "start", "evaluation"
/// and "checkpoint" are stages of their own ("bench" is one like "evaluation");
/// "data" is one without deadline, since fetching takes as long as it takes;
/// all others make up a step, which begins with a "load" that does not follow a
/// "backward".
///
/// When another rank ends the job and says why (`Options::ending`), this one
/// prints nothing and waits to be ended.
///
/// Time is what this process has run: a process that was stopped (SIGSTOP, a
/// debugger) and goes on has lost nothing, and has two seconds before the
/// watchdog looks again. While it is stopped, those of the other ranks end the
/// job.
///
/// Whether an operation has ended, and the polls, the note and the aborts of
/// `Options`, are asked on threads of their own, on which no signal arrives,
/// and for a limited time: a driver may be as stuck as the rank. A thread that
/// does not come back is left behind, so that these functions own what they
/// use.
///
/// Thread safety: an observer's methods are called by any thread. Functions in
/// `Options` must not use this object.
class Watchdog final : public Observer {
 public:
  /// How long the launcher may take to end a rank when another ends the job.
  static constexpr std::chrono::milliseconds kEnded{10'000};

  struct Options {
    Deadlines deadlines;
    std::chrono::milliseconds grace{2'000};
    /// An expiry ends the job only when its stage has lasted so long; the line
    /// comes at the deadline.
    std::chrono::milliseconds least{0};
    /// Asked five times a second whether something has failed that nobody waits
    /// for; a text ends the job as an expiry does.
    std::vector<std::function<std::string()>> polls;
    /// Whether another rank ends the job and says why; asked twenty times a
    /// second, on the watchdog's own thread.
    std::function<bool()> ending = {};
    /// For how long this rank then waits to be ended, before it calls `end`.
    std::chrono::milliseconds ended = kEnded;
    /// What to add to the line of an expiry, e.g. which rank is stopped.
    std::function<std::string()> note;
    /// Called before `end`, in turn, on a thread of their own, for at most 5 s
    /// together: they may hang.
    std::vector<std::function<void()>> aborts;
    /// Gets the line, without its end.
    std::function<void(const std::string&)> print;
    /// Ends all ranks; does not return, but in tests.
    std::function<void()> end;
  };

  /// In the phase "start". `mesh` gives the rank its name; `mesh.observe` is
  /// the caller's.
  Watchdog(const ProcessMesh& mesh, Options options);
  /// Waits for the end of the job if it has begun, so that an error that is its
  /// consequence is not reported in its place.
  ~Watchdog() override;
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void phase(std::string_view name) override;
  void begin(const Communicator& group, const Collective& collective) override;
  Work started(const Communicator& group,
               const Collective& collective,
               Work work) override;

 private:
  using Clock = std::chrono::steady_clock;
  using Duration = Clock::duration;
  enum class Stage { start, data, first_step, step, evaluation, checkpoint };
  /// The last collective of one group.
  struct Last {
    const Communicator* group = nullptr;
    std::string axis;
    Collective collective{};
    Duration begun{0};
    bool started = false;
    Work work;
  };

  /// Where the rank is, as far as nobody needs to be asked.
  struct Place {
    std::string phase;  ///< "phase backward for 29.7 s, ..."
    std::vector<Last> groups;
    std::size_t newest = 0;
    Duration now{0};
  };

  void loop();
  void tick();
  std::string failed_poll(bool due);
  void end_job(const std::string& line, Duration grace) const;
  static std::string describe(const Place& place);
  // All below: under the mutex.
  Stage stage_of(std::string_view name) const;
  Duration limit() const;
  Duration time() const;
  Last& last_of(const Communicator& group);
  Place place() const;

  const std::string rank_;
  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;

  Duration ran_{0};  // up to the last tick
  Clock::time_point last_tick_ = Clock::now();
  Duration settled_{0};  // no expiry before

  std::string phase_ = "start";
  Stage stage_ = Stage::start;
  bool stepped_ = false;
  Duration phase_begun_{0};
  Duration stage_begun_{0};
  std::vector<Last> groups_;
  std::size_t newest_ = 0;  // in groups_

  std::future<std::string> polling_;  // of the thread, and what ends it
  std::thread thread_;
};

}  // namespace mumoe::dist
