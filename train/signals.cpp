#include "train/signals.h"

#include <csignal>
#include <ctime>

namespace mumoe::train {
namespace {

// The only state a signal handler may touch.
volatile std::sig_atomic_t stop_requested = 0;
volatile std::sig_atomic_t first_second = 0;

// Seconds after which a further SIGINT is one more, not an echo: launchers send
// one to a process and again to its group.
constexpr int kEcho = 2;

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

bool is_ignored(int signal) {
  struct sigaction action = {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

}  // namespace

StopSignals::StopSignals() {
  for (std::size_t i = 0; i < kTaken.size(); ++i) {
    sigaction(kTaken[i], nullptr, &before_[i]);
  }
  stop_requested = 0;
  set_handler(SIGUSR1, request_stop);
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kTaken.size(); ++i) {
    sigaction(kTaken[i], &before_[i], nullptr);
  }
}

void StopSignals::saving() {
  for (const int signal : {SIGTERM, SIGINT}) set_handler(signal, request_stop);
  if (!is_ignored(SIGHUP)) set_handler(SIGHUP, request_stop);
  set_handler(SIGPIPE, SIG_IGN);
}

bool StopSignals::requested() const {
  return stop_requested != 0;
}

}  // namespace mumoe::train
