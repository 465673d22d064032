#include "train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/terminal.h"
#include "dist/mpi/mpi_runtime.h"

namespace mumoe::train {
namespace {

/// mpirun gives its ranks a pseudo-terminal whatever its own output is;
/// launch/mpirun says whether there is a real one behind it.
bool has_terminal() {
  if (dist::MpiRuntime::launched_by_mpi()) {
    return std::getenv("MUMOE_TTY") != nullptr;
  }
  return ::isatty(STDOUT_FILENO) != 0;
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600) {
    return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  }
  return fmt::format("{}m{:02}s", whole / 60, whole % 60);
}

}  // namespace

Progress::Progress(bool shown,
                   std::int64_t steps,
                   std::int64_t every,
                   std::function<void(const std::string&)> said,
                   bool experts)
    : shown_(shown),
      terminal_(has_terminal()),
      steps_(steps),
      every_(every),
      said_(std::move(said)),
      show_experts_(experts) {}

Progress::~Progress() {
  if (live_) std::fputs("\n", stdout);
  std::fflush(stdout);
}

void Progress::show(const StepReport& r) {
  if (!shown_) return;
  mean_step_ms_ =
      mean_step_ms_ == 0 ? r.step_ms : 0.9 * mean_step_ms_ + 0.1 * r.step_ms;
  if (show_experts_ && !r.experts.empty()) {
    experts_ = " | " + describe(r.experts);
    experts_step_ = r.step;
  }
  std::string line = fmt::format(
      "step {}/{} | loss {:.4f} | norm {:.3f} | lr {:.2e} | {:.0f} ms | "
      "{:.0f} {}/s | mfu {:.0f}% | sol {:.0f}% | eta {}",
      r.step,
      steps_,
      r.loss,
      r.grad_norm,
      r.lr,
      r.step_ms,
      r.targets_per_s,
      r.target == "token" ? "tok" : r.target + "s",
      100 * r.mfu,
      100 * r.sol,
      duration(static_cast<double>(steps_ - r.step) * mean_step_ms_ / 1000));
  line += experts_;
  if (!experts_.empty() && experts_step_ != r.step) {
    line += fmt::format(" at step {}", experts_step_);
  }
  const bool stays = r.step % every_ == 0 || r.step == steps_;
  clear_live_line();
  if (stays || (!terminal_ && r.step == 1)) {
    say(line);
  } else if (terminal_) {
    // A line that wraps could not be cleared.
    std::fputs(line.substr(0, terminal_columns() - 1).c_str(), stdout);
    live_ = true;
  }
  std::fflush(stdout);
}

void Progress::note(const std::string& line) {
  if (!shown_) return;
  clear_live_line();
  say(line);
  std::fflush(stdout);
}

void Progress::say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  said_(line);
}

void Progress::clear_live_line() {
  if (live_) std::fputs("\r\033[K", stdout);
  live_ = false;
}

}  // namespace mumoe::train
