#include "train/signals.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "base/error.h"
#include "base/thread_signals.h"

namespace mumoe::train {
namespace {

constexpr std::array kTaken = {SIGUSR1, SIGTERM, SIGINT, SIGHUP};

// How many signals have come that are no echo of one before, and when the last
// of these came. A signal handler may touch what needs no lock.
std::atomic<unsigned> signals_seen = 0;
std::atomic<unsigned> last_ms = 0;
static_assert(std::atomic<unsigned>::is_always_lock_free);

bool taken = false;
std::array<struct sigaction, kTaken.size()> before;

// Milliseconds after which a further signal is one more, not an echo: launchers
// send one to a process and again to its group.
constexpr unsigned kEcho = 2'000;
// How soon a request is seen while there is nothing to save, and a second one
// while there is.
constexpr std::chrono::milliseconds kTick{20};
constexpr std::chrono::milliseconds kSlowTick{100};

/// Of a clock that wraps around in 49 days.
unsigned milliseconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<unsigned>(now.tv_sec) * 1000U +
         static_cast<unsigned>(now.tv_nsec / 1'000'000);
}

void note_signal(int signal) {
  const unsigned now = milliseconds_now();
  unsigned seen = signals_seen;
  if (seen > 0) {
    // A terminal that closes asks once more for what was asked for.
    if (signal == SIGHUP) return;
    if (now - last_ms < kEcho) return;
    if (seen > 1) _exit(static_cast<int>(ExitCode::preempted));
  }
  last_ms = now;
  // Not of two that come to two threads at once.
  signals_seen.compare_exchange_strong(seen, seen + 1);
}

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

void take_stop_signals() {
  if (taken) return;
  taken = true;
  for (std::size_t i = 0; i < kTaken.size(); ++i) {
    sigaction(kTaken[i], nullptr, &before[i]);
    const bool ignored = before[i].sa_handler == SIG_IGN;
    if (kTaken[i] == SIGHUP && ignored) continue;
    set_handler(kTaken[i], note_signal);
  }
  set_handler(SIGPIPE, SIG_IGN);
}

StopSignals::StopSignals(std::function<void()> end,
                         std::function<void()> end_at_once) {
  take_stop_signals();
  thread_ = std::thread(
      [this, end = std::move(end), end_at_once = std::move(end_at_once)] {
        block_signals();
        watch(end, end_at_once);
      });
}

StopSignals::~StopSignals() {
  {
    const std::lock_guard lock(mutex_);
    saving_ = over_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (std::size_t i = 0; i < kTaken.size(); ++i) {
    sigaction(kTaken[i], &before[i], nullptr);
  }
  signals_seen = 0;
  taken = false;
}

void StopSignals::watch(const std::function<void()>& end,
                        const std::function<void()>& end_at_once) {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kTick, [this] { return saving_; })) {
    if (requested()) return end();  // under the lock, which `saving` needs
  }
  while (!changed_.wait_for(lock, kSlowTick, [this] { return over_; })) {
    if (signals_seen > 1) {
      lock.unlock();  // which nobody waits for who could end the process
      return end_at_once();
    }
  }
}

void StopSignals::saving() {
  {
    const std::lock_guard lock(mutex_);
    saving_ = true;
  }
  changed_.notify_all();
}

bool StopSignals::requested() const {
  return signals_seen != 0;
}

void StopSignals::exit_preempted() {
  std::_Exit(static_cast<int>(ExitCode::preempted));
}

}  // namespace mumoe::train
