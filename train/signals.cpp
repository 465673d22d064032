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

void take(int signal) {
  struct sigaction action = {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = 0;
  take(SIGUSR1);
}

StopSignals::~StopSignals() {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    std::signal(signal, SIG_DFL);
  }
}

void StopSignals::saving() {
  for (const int signal : {SIGTERM, SIGINT}) take(signal);
}

bool StopSignals::requested() const {
  return stop_requested != 0;
}

}  // namespace mumoe::train
