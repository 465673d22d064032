#include "launch/program.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dist/watch/watchdog.h"
#include "launch/commands.h"
#include "launch/memory.h"
#include "launch/pinning.h"

namespace mumoe::launch {
namespace {

// For the first words between ranks, until a command sets a deadline of its
// own; longer than a slow file system takes to start the last rank.
constexpr std::chrono::minutes kStartDeadline{10};
// What a higher rank gives the lower ones to find the same fault.
constexpr std::chrono::seconds kFoundByAll{3};

using Command = ExitCode (*)(const Invocation&);

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> table = {
      {"train", train_command},
      {"sample", sample_command},
      {"data", data_command},
      {"bench", bench_command},
      {"help", help_command},
      {"--version", help_command},
  };
  return table;
}

/// Wherever it stands: whoever asks for help wants nothing else.
bool is_help(const std::string& word) {
  return word == "-h" || word == "--help";
}

ExitCode dispatch(int argc,
                  char** argv,
                  const std::optional<dist::MpiRuntime>& mpi,
                  std::vector<dist::Observer*> observers) {
  std::string name = argc > 1 ? argv[1] : "help";
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const bool asked = std::ranges::any_of(words, is_help);
  if (asked && name.starts_with("-")) name = "help";
  const auto found = commands().find(name);
  require(found != commands().end(),
          "mumoe {}: no such subcommand; mumoe help lists them",
          name);
  if (asked) {
    // `mumoe help train -h` is about train as well.
    const bool of_topic = words.front() == "help" && !is_help(words[1]);
    return help_command({{of_topic ? words[1] : name}, mpi, {}});
  }
  Invocation invocation{{}, mpi, std::move(observers)};
  if (name.starts_with("--")) invocation.arguments.push_back(name);
  for (int i = 2; i < argc; ++i) invocation.arguments.emplace_back(argv[i]);
  return found->second(invocation);
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

/// Ends all ranks with `code`, and says why, unless another rank does.
[[noreturn]] void end_job(const dist::MpiRuntime& mpi,
                          ExitCode code,
                          const std::string& line) {
  const int rank = mpi.world().rank();
  const auto peers = mpi.peers();
  auto other = peers->ending();
  // What fails since another rank has ended is that rank's affair.
  const bool consequence = code == ExitCode::communication && other &&
                           other->code != ExitCode::communication;
  // All ranks find the same fault in what the user gives, as a rule, and the
  // same number not finite: the lowest rank says so and ends them. What a rank
  // alone finds, it says itself.
  const bool found_by_all =
      code == ExitCode::bad_input || code == ExitCode::non_finite;
  if (!consequence) peers->tell(code);
  if (found_by_all && rank != 0) {
    std::this_thread::sleep_for(kFoundByAll);
    other = peers->ending();
  }
  if (consequence || (found_by_all && other && other->rank < rank)) {
    std::this_thread::sleep_for(dist::Watchdog::kEnded);
    mpi.abort(other->code);
  }
  print(line);
  mpi.abort(code);
}

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
  ExitCode code = ExitCode::internal;
  std::string line;
  try {
    if (dist::MpiRuntime::launched_by_mpi()) {
      mpi.emplace(dist::MpiRuntime::Limits{.start = kStartDeadline});
      mpi->world().set_deadline(kStartDeadline);
    }
    require_whole_job(mpi ? mpi->world().size() : 1);
    if (mpi) pin_to_cores(mpi->world());
    const ExitCode done = dispatch(argc, argv, mpi, std::move(observers));
    mpi.reset();
    return static_cast<int>(done);
  } catch (const Error& error) {
    code = error.exit_code();
    line = error.what();
  } catch (const std::exception& error) {
    const auto asked = memory_asked_for(error);
    if (asked) code = ExitCode::bad_input;
    line = asked ? "out of memory: " + *asked
                 : "internal error: " + first_line(error);
  }
  if (mpi) end_job(*mpi, code, line);
  print(line);
  return static_cast<int>(code);
}

}  // namespace mumoe::launch
