#include "train/signals.h"

#include <array>
#include <chrono>
#include <csignal>
#include <ctime>
#include <utility>

#include "base/thread_signals.h"

namespace mumoe::train {
namespace {

constexpr std::array kTaken = {SIGUSR1, SIGTERM, SIGINT, SIGHUP};

// The only state a signal handler may touch.
volatile std::sig_atomic_t stop_requested = 0;
volatile std::sig_atomic_t first_second = 0;

bool taken = false;
std::array<struct sigaction, kTaken.size()> before;

// Seconds after which a further SIGINT is one more, not an echo: launchers send
// one to a process and again to its group.
constexpr int kEcho = 2;
// How soon a request is seen while there is nothing to save.
constexpr std::chrono::milliseconds kTick{20};

int seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int>(now.tv_sec);
}

void request_stop(int signal) {
  if (stop_requested == 0) {
    first_second = seconds_now();
    stop_requested = 1;
  } else if (signal == SIGINT && seconds_now() - first_second >= kEcho) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
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
    set_handler(kTaken[i], request_stop);
  }
  set_handler(SIGPIPE, SIG_IGN);
}

StopSignals::StopSignals(std::function<void()> end) {
  take_stop_signals();
  thread_ = std::thread([this, end = std::move(end)] {
    block_signals();
    watch(end);
  });
}

StopSignals::~StopSignals() {
  saving();
  for (std::size_t i = 0; i < kTaken.size(); ++i) {
    sigaction(kTaken[i], &before[i], nullptr);
  }
  stop_requested = 0;
  taken = false;
}

void StopSignals::watch(const std::function<void()>& end) {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kTick, [this] { return saving_; })) {
    if (requested()) return end();  // under the lock, which `saving` needs
  }
}

void StopSignals::saving() {
  {
    const std::lock_guard lock(mutex_);
    saving_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool StopSignals::requested() const {
  return stop_requested != 0;
}

}  // namespace mumoe::train
