#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "launch/commands.h"
#include "launch/pinning.h"
#include "launch/whole_job.h"

namespace {

using mumoe::ExitCode;
using mumoe::launch::Invocation;

using Command = ExitCode (*)(const Invocation&);

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> table = {
      {"train", mumoe::launch::train_command},
      {"sample", mumoe::launch::sample_command},
      {"data", mumoe::launch::data_command},
      {"bench", mumoe::launch::bench_command},
      {"help", mumoe::launch::help_command},
      {"--help", mumoe::launch::help_command},
      {"--version", mumoe::launch::help_command},
  };
  return table;
}

/// Keeps freed memory in the process: every step allocates the same large
/// tensors again, and fresh pages from the kernel cost more than the sums in
/// them (3 % of a step of the default recipe).
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
}

ExitCode dispatch(int argc,
                  char** argv,
                  std::optional<mumoe::dist::MpiRuntime>& mpi) {
  const std::string name = argc > 1 ? argv[1] : "help";
  const auto found = commands().find(name);
  mumoe::require(found != commands().end(),
                 "mumoe ",
                 name,
                 ": no such subcommand; mumoe help lists them");
  Invocation invocation{{}, mpi};
  if (name.starts_with("--")) invocation.arguments.push_back(name);
  for (int i = 2; i < argc; ++i) invocation.arguments.emplace_back(argv[i]);
  if (argc == 3 && invocation.arguments.front() == "--help") {
    return mumoe::launch::help_command({{name}, mpi});
  }
  return found->second(invocation);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  std::optional<mumoe::dist::MpiRuntime> mpi;
  ExitCode code = ExitCode::internal;
  try {
    if (mumoe::dist::MpiRuntime::launched_by_mpi()) mpi.emplace();
    mumoe::launch::require_whole_job(mpi ? mpi->world().size() : 1);
    if (mpi) mumoe::launch::pin_to_cores(mpi->world());
    const ExitCode done = dispatch(argc, argv, mpi);
    mpi.reset();
    return static_cast<int>(done);
  } catch (const mumoe::Error& error) {
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
