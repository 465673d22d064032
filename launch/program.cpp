#include "launch/program.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "dist/watch/watchdog.h"
#include "launch/commands.h"
#include "launch/memory.h"
#include "launch/pinning.h"
#include "train/signals.h"

namespace mumoe::launch {
namespace {

// For the first words between ranks, until a command sets a deadline of its
// own; longer than a slow file system takes to start the last rank.
constexpr std::chrono::minutes kStartDeadline{10};
// What a higher rank gives the lower ones to find the same fault, or to be
// asked to stop as well.
constexpr std::chrono::milliseconds kFoundByAll{3'000};
constexpr std::chrono::milliseconds kAskedAll{300};

constexpr const char* kSimulate = "--simulate";

using Command = ExitCode (*)(const Invocation&);

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> table = {
      {"train", train_command},
      {"sample", sample_command},
      {"eval", eval_command},
      {"data", data_command},
      {"convert", convert_command},
      {"inspect", inspect_command},
      {"predict-check", predict_check_command},
      {"plan", plan_command},
      {"simulate", simulate_command},
      {"bench", bench_command},
      {"scale", scale_command},
      {"study", study_command},
      {"report", report_command},
      {"help", help_command},
      {"--version", help_command},
  };
  return table;
}

/// Wherever it stands: whoever asks for help wants nothing else.
bool is_help(const std::string& word) {
  return word == "-h" || word == "--help";
}

/// What is one process's affair says so, once, when there are several: help is
/// printed by rank 0, the rest is refused.
bool left_to_rank_0(Command command, const Invocation& invocation) {
  const auto& words = invocation.arguments;
  const bool for_all =
      command == train_command || command == eval_command ||
      command == simulate_command || command == study_command ||
      (command == bench_command && !words.empty() && words.front() == "comm");
  const int ranks = invocation.mpi ? invocation.mpi->world().size() : 1;
  if (for_all || ranks == 1) return false;
  if (command == help_command) return invocation.mpi->world().rank() != 0;
  fail<InputError>(
      "mumoe {}: {} ranks were started, each of which would do the whole work; "
      "expected one process, without mpirun",
      command == sample_command          ? "sample"
      : command == data_command          ? "data"
      : command == convert_command       ? "convert"
      : command == inspect_command       ? "inspect"
      : command == predict_check_command ? "predict-check"
      : command == plan_command          ? "plan"
      : command == scale_command         ? "scale"
      : command == report_command        ? "report"
      : words.empty()                    ? "bench"
                                         : "bench " + words.front(),
      ranks);
}

ExitCode dispatch(int argc, char** argv, Invocation invocation) {
  std::string name = argc > 1 ? argv[1] : "help";
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const bool asked = std::ranges::any_of(words, is_help);
  if (asked && name.starts_with("-")) name = "help";
  const auto found = commands().find(name);
  require(found != commands().end(),
          "mumoe {}: no such subcommand; mumoe help lists them",
          name);
  Command command = found->second;
  // `train --simulate`: the same step, of which nothing is computed.
  const bool simulates = command == train_command &&
                         std::ranges::count(words, std::string(kSimulate)) > 0;
  if (simulates) command = simulate_command;
  if (asked) {
    // `mumoe help train -h` is about train as well.
    const bool of_topic = words.front() == "help" && !is_help(words[1]);
    command = help_command;
    invocation.arguments = {of_topic ? words[1] : name};
  } else {
    if (name.starts_with("--")) invocation.arguments.push_back(name);
    for (int i = 2; i < argc; ++i) {
      if (simulates && std::string_view(argv[i]) == kSimulate) continue;
      invocation.arguments.emplace_back(argv[i]);
    }
  }
  if (left_to_rank_0(command, invocation)) return ExitCode::done;
  return command(invocation);
}

void print(const std::string& line) {
  std::fprintf(stderr, "mumoe: %s\n", line.c_str());
}

/// Without LibTorch's stack frames.
std::string first_line(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text =
      torch ? torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

/// Whoever read stdout has gone, as `head` does: nobody misses the rest.
bool reader_has_gone() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

/// Throws where what was printed is lost: results that somebody waits for. What
/// a run says, `log` may have as well.
void require_printed(const RunLog& log) {
  const bool flushed = std::fflush(stdout) == 0;
  const int error = errno;
  if (flushed && std::ferror(stdout) == 0) return;
  if (log.kept() || reader_has_gone()) return;
  fail<InputError>("stdout: not all of it could be written{}{}; expected room",
                   flushed ? "" : ": ",
                   flushed ? "" : std::strerror(error));
}

/// What an error that is none of this program's own says of it, and with which
/// code it ends.
std::pair<ExitCode, std::string> told(const std::exception& error) {
  if (const auto asked = memory_asked_for(error)) {
    return {ExitCode::bad_input, "out of memory: " + *asked};
  }
  // Of a library that prints.
  if (std::ferror(stdout) != 0) {
    return {ExitCode::bad_input,
            "stdout: not all of it could be written: " + first_line(error)};
  }
  return {ExitCode::internal, "internal error: " + first_line(error)};
}

/// Ends all ranks with `code`, and has `say` say why, unless another rank does.
[[noreturn]] void end_job(const dist::MpiRuntime& mpi,
                          ExitCode code,
                          const std::function<void()>& say) {
  const int rank = mpi.world().rank();
  const auto peers = mpi.peers();
  auto other = peers->ending();
  // What fails since another rank has ended is that rank's affair.
  const bool consequence =
      other && (code == ExitCode::communication ||
                (code == ExitCode::preempted && other->code != code));
  // All ranks find the same fault in what the user gives, as a rule, and the
  // same number not finite, and are asked to stop: the lowest rank says so and
  // ends them. What a rank alone finds, it says itself.
  const bool asked = code == ExitCode::preempted;
  const bool found_by_all =
      asked || code == ExitCode::bad_input || code == ExitCode::non_finite;
  if (!consequence) peers->tell(code);
  if (found_by_all && rank != 0) {
    std::this_thread::sleep_for(asked ? kAskedAll : kFoundByAll);
    other = peers->ending();
  }
  if (consequence || (found_by_all && other && other->rank < rank)) {
    std::this_thread::sleep_for(dist::Watchdog::kEnded);
    mpi.abort(other->code);
  }
  say();
  mpi.abort(code);
}

/// Whether this is rank 0, as far as that is known before MPI has started.
bool alone_or_first() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"}) {
    if (const char* rank = std::getenv(name)) return std::atoi(rank) == 0;
  }
  return true;
}

/// What a command that a signal ends says.
std::string when_stopped(std::string_view command, bool second) {
  if (second && (command == "train" || command == "scale")) {
    return "stopped at once by a second signal: what was saved before is there";
  }
  if (second) return "mumoe sample: stopped at once by a second signal";
  if (command == "eval" || command == "study") return kEvaluationStopped;
  if (command == "data") {
    return "stopped by a signal: the same command makes what is missing";
  }
  if (command == "sample") return "mumoe sample: stopped by a signal";
  return kStoppedEarly;
}

/// The end of this process before its time, which two threads may see at once:
/// that of the program, by an error, and that which sees a signal.
class EarlyEnd {
 public:
  EarlyEnd(RunLog& log, std::string_view command)
      : log_(log), command_(command) {}

  /// From now on there are other ranks to end.
  void started(const dist::MpiRuntime& mpi) { mpi_ = &mpi; }

  /// Says `line` as an error, and ends all ranks or, where there are no others,
  /// returns.
  void by_error(ExitCode code, const std::string& line) {
    // The other thread ends the process.
    while (begun_.test_and_set()) std::this_thread::sleep_for(kFoundByAll);
    const auto say = [&] {
      print(line);
      log_.keep("mumoe: " + line);
    };
    if (const auto* mpi = mpi_.load()) end_job(*mpi, code, say);
    say();
  }

  /// Ends all ranks since a signal asks for it, a `second` one before the first
  /// has come to anything; returns where an error does. A launcher sends
  /// SIGTERM, too, when another rank has died: then that is what is said.
  void by_signal(bool second) {
    if (begun_.test_and_set()) return;
    const auto* mpi = mpi_.load();
    const std::string gone = mpi ? mpi->peers()->gone() : "";
    if (!gone.empty()) {
      const int rank = mpi->world().rank(), ranks = mpi->world().size();
      end_job(*mpi, ExitCode::communication, [&] {
        print(fmt::format("rank {} of {}: {}", rank, ranks, gone));
      });
    }
    const std::string line = when_stopped(command_, second);
    const auto say = [&] {
      // What sample says is its text.
      std::FILE* const to = command_ == "sample" ? stderr : stdout;
      std::fprintf(to, "%s\n", line.c_str());
      std::fflush(to);
      if (second) log_.keep(line);
    };
    if (mpi != nullptr) end_job(*mpi, ExitCode::preempted, say);
    if (alone_or_first()) say();
    std::_Exit(static_cast<int>(ExitCode::preempted));
  }

  /// Nothing is left that a signal could end. Does not return if one does.
  void too_late() {
    while (begun_.test_and_set()) std::this_thread::sleep_for(kFoundByAll);
  }

 private:
  RunLog& log_;
  std::string_view command_;
  std::atomic<const dist::MpiRuntime*> mpi_ = nullptr;
  std::atomic_flag begun_;
};

}  // namespace

void require_whole_job(int ranks) {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  // mpirun's ranks inherit the variables of the step that started its daemons.
  if (tasks == nullptr || std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) {
    return;
  }
  require(ranks > 1 || std::atoi(tasks) <= 1,
          "srun started {} processes, but MPI knows of one: expected srun "
          "--mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH), whichever `srun "
          "--mpi=list` has, or launch/mpirun inside the allocation",
          tasks);
}

int run_program(int argc, char** argv, std::vector<dist::Observer*> observers) {
  std::optional<dist::MpiRuntime> mpi;
  const auto log = std::make_shared<RunLog>();
  const std::string_view word = argc > 1 ? argv[1] : "";
  EarlyEnd end(*log, word);
  std::optional<train::StopSignals> signals;
  // What others lose by a signal they make again.
  if (word == "train" || word == "eval" || word == "sample" || word == "data" ||
      word == "scale" || word == "study") {
    signals.emplace([&end] { end.by_signal(/*second=*/false); },
                    [&end] { end.by_signal(/*second=*/true); });
  }
  ExitCode code = ExitCode::internal;
  std::string line;
  try {
    if (dist::MpiRuntime::launched_by_mpi()) {
      mpi.emplace(dist::MpiRuntime::Limits{.start = kStartDeadline});
      end.started(*mpi);
      mpi->world().set_deadline(kStartDeadline);
    }
    require_whole_job(mpi ? mpi->world().size() : 1);
    if (mpi) pin_to_cores(mpi->world());
    const ExitCode done = dispatch(
        argc,
        argv,
        {{}, mpi, std::move(observers), log, signals ? &*signals : nullptr});
    require_printed(*log);
    // Too late to ask for anything.
    if (signals) signals->saving();
    end.too_late();
    mpi.reset();
    return static_cast<int>(done);
  } catch (const Error& error) {
    code = error.exit_code();
    line = error.what();
  } catch (const std::exception& error) {
    std::tie(code, line) = told(error);
  }
  end.by_error(code, line);
  return static_cast<int>(code);
}

}  // namespace mumoe::launch
