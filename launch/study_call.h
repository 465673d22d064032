#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "run/command_line.h"

namespace mumoe::launch {

/// A study of the experts of a run: `mumoe study NAME`.
struct Study {
  const char* name;
  const char* help;  ///< A paragraph.
  /// What it takes besides [parallel].
  std::vector<run::OwnOption> (*options)();
  ExitCode (*run)(const Invocation& invocation, const run::CommandLine& line);
};

/// All there are: the table to add to (study.cpp).
std::span<const Study> studies();

// One a file, study_NAME.cpp. Collective over all ranks.
std::vector<run::OwnOption> study_cost_options();
ExitCode study_cost(const Invocation& invocation, const run::CommandLine& line);
std::vector<run::OwnOption> study_domains_options();
ExitCode study_domains(const Invocation& invocation,
                       const run::CommandLine& line);
std::vector<run::OwnOption> study_edit_options();
ExitCode study_edit(const Invocation& invocation, const run::CommandLine& line);
std::vector<run::OwnOption> study_experts_options();
ExitCode study_experts(const Invocation& invocation,
                       const run::CommandLine& line);
std::vector<run::OwnOption> study_load_options();
ExitCode study_load(const Invocation& invocation, const run::CommandLine& line);
std::vector<run::OwnOption> study_ranks_options();
ExitCode study_ranks(const Invocation& invocation,
                     const run::CommandLine& line);
std::vector<run::OwnOption> study_specialise_options();
ExitCode study_specialise(const Invocation& invocation,
                          const run::CommandLine& line);
std::vector<run::OwnOption> study_bias_options();
ExitCode study_bias(const Invocation& invocation, const run::CommandLine& line);
std::vector<run::OwnOption> study_svd_options();
ExitCode study_svd(const Invocation& invocation, const run::CommandLine& line);

/// mumoe study specialise --study: heads that it trains itself (study/experts/
/// specialise_study.h), by one process.
ExitCode study_specialise_heads(const Invocation& invocation,
                                const run::CommandLine& line);
/// Its options.
std::vector<run::OwnOption> study_specialise_heads_options();

}  // namespace mumoe::launch
