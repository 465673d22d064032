#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace mumoe::train {

/// From now on SIGTERM, SIGINT, SIGUSR1 and SIGHUP (a closed terminal) are
/// noted instead of ending the process, and output that nobody reads (SIGPIPE)
/// never ends it, not even at its exit. A SIGHUP that was ignored stays so
/// (nohup). One of the first three that comes two seconds or more after the
/// first signal is a second one, an earlier one an echo of the first; one that
/// comes as long after the second, which nothing came of, ends the process
/// there and then, as preempted. Needs nothing but the C library: may be called
/// before anything of the program is initialised.
void take_stop_signals();

/// What comes of a signal that `take_stop_signals` notes; takes them itself if
/// nobody has. At most one at a time. Thread safety: `requested` may be called
/// by any thread, the rest by one.
class StopSignals {
 public:
  /// `end` is called, on a thread of its own, when a signal has come while
  /// there was nothing to save, and `end_at_once` on a second one while there
  /// was. Both end the process.
  explicit StopSignals(std::function<void()> end,
                       std::function<void()> end_at_once = exit_preempted);
  /// The four do again what they did before.
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// From now on there is something to save: a signal is a request, which the
  /// caller asks for. Does not return once `end` has been called.
  void saving();
  /// Whether this rank was asked to stop.
  bool requested() const;

 private:
  [[noreturn]] static void exit_preempted();
  void watch(const std::function<void()>& end,
             const std::function<void()>& end_at_once);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool saving_ = false;  // guarded by mutex_
  bool over_ = false;    // guarded by mutex_
  std::thread thread_;   // last: starts when the rest is there
};

}  // namespace mumoe::train
