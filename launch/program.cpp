#include "launch/program.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "launch/commands.h"
#include "launch/pinning.h"
#include "launch/whole_job.h"

namespace mumoe::launch {
namespace {

// For the first words between ranks, until a command sets a deadline of its
// own; longer than a slow file system takes to start the last rank.
constexpr std::chrono::minutes kStartDeadline{10};

using Command = ExitCode (*)(const Invocation&);

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> table = {
      {"train", train_command},
      {"sample", sample_command},
      {"data", data_command},
      {"bench", bench_command},
      {"help", help_command},
      {"--help", help_command},
      {"--version", help_command},
  };
  return table;
}

ExitCode dispatch(int argc,
                  char** argv,
                  const std::optional<dist::MpiRuntime>& mpi,
                  std::vector<dist::Observer*> observers) {
  const std::string name = argc > 1 ? argv[1] : "help";
  const auto found = commands().find(name);
  require(found != commands().end(),
          "mumoe ",
          name,
          ": no such subcommand; mumoe help lists them");
  Invocation invocation{{}, mpi, std::move(observers)};
  if (name.starts_with("--")) invocation.arguments.push_back(name);
  for (int i = 2; i < argc; ++i) invocation.arguments.emplace_back(argv[i]);
  if (argc == 3 && invocation.arguments.front() == "--help") {
    return help_command({{name}, mpi, {}});
  }
  return found->second(invocation);
}

}  // namespace

int run_program(int argc, char** argv, std::vector<dist::Observer*> observers) {
  std::optional<dist::MpiRuntime> mpi;
  ExitCode code = ExitCode::internal;
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
    // All ranks find the same fault in what the user gives, as a rule, and the
    // same number not finite: rank 0 says so and ends them. What another rank
    // alone finds, it says itself.
    const bool found_by_all =
        code == ExitCode::bad_input || code == ExitCode::non_finite;
    if (mpi && found_by_all && mpi->world().rank() != 0) {
      std::this_thread::sleep_for(std::chrono::seconds(3));
    }
    std::fprintf(stderr, "mumoe: %s\n", error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mumoe: internal error: %s\n", error.what());
  }
  if (mpi) mpi->abort(code);
  return static_cast<int>(code);
}

}  // namespace mumoe::launch
