#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_runtime.h"
#include "dist/watch/observer.h"
#include "launch/run_log.h"
#include "run/command_line.h"
#include "train/signals.h"

namespace mumoe::launch {

/// What a subcommand gets: its words, and MPI if a launcher started this
/// process as a rank. `main` owns it, to end the other ranks after an error.
struct Invocation {
  std::vector<std::string> arguments;
  const std::optional<dist::MpiRuntime>& mpi;
  /// See every phase and collective of `train` and `bench comm`.
  std::vector<dist::Observer*> observers;
  /// What `train` says.
  std::shared_ptr<RunLog> log = std::make_shared<RunLog>();
  /// Of `train`; `eval` ends by a signal as `train` does before it saves.
  train::StopSignals* signals = nullptr;
};

/// What `train` says when a signal stops it before there is anything to save.
constexpr const char* kStoppedEarly =
    "stopped by a signal before the first step: nothing was written";

/// The same of `eval`, at any time.
constexpr const char* kEvaluationStopped =
    "stopped by a signal: nothing was written";

// One a file. Each returns what the process tells its launcher, and throws
// `Error` for everything else.
ExitCode train_command(const Invocation& invocation);
ExitCode sample_command(const Invocation& invocation);
ExitCode eval_command(const Invocation& invocation);
ExitCode data_command(const Invocation& invocation);
ExitCode convert_command(const Invocation& invocation);
ExitCode inspect_command(const Invocation& invocation);
ExitCode predict_check_command(const Invocation& invocation);
ExitCode plan_command(const Invocation& invocation);
ExitCode bench_command(const Invocation& invocation);
ExitCode simulate_command(const Invocation& invocation);
ExitCode scale_command(const Invocation& invocation);
ExitCode study_command(const Invocation& invocation);
ExitCode report_command(const Invocation& invocation);
ExitCode help_command(const Invocation& invocation);

/// What they take besides keys of a run, for them and for their help.
std::vector<run::OwnOption> sample_options();
std::vector<run::OwnOption> eval_options();
std::vector<run::OwnOption> data_options();
std::vector<run::OwnOption> convert_options();
std::vector<run::OwnOption> inspect_options();
std::vector<run::OwnOption> predict_check_options();
std::vector<run::OwnOption> plan_options();
std::vector<run::OwnOption> simulate_options();
std::vector<run::OwnOption> scale_options();
std::vector<run::OwnOption> report_options();
std::vector<run::OwnOption> bench_layer_options();
std::vector<run::OwnOption> bench_kernels_options();
std::vector<run::OwnOption> bench_comm_options();

/// `mumoe bench kernels`: times each kernel and product of a micro-batch on a
/// GPU, and says what it moves and computes. Throws `InputError` for a bad
/// option and where there is no GPU.
ExitCode bench_kernels(const std::vector<std::string>& arguments);

/// `mumoe bench comm`: times collectives of many sizes over the axes of a mesh
/// and prints tables with the columns of nccl-tests. The backend is chosen as
/// for a training run, and watched as there: each size has parallel.deadline.
/// Collective over the world. Throws `InputError` for a bad option, and
/// `CommunicationError` at the end when results were wrong.
ExitCode bench_comm(const std::vector<std::string>& arguments,
                    const Invocation& invocation);

}  // namespace mumoe::launch
