#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "study/scale/launcher.h"
#include "study/scale/scale_study.h"

namespace mumoe::launch {

/// Who starts runs, by those options of `scale_options` that `line` has. Throws
/// `InputError` where that is not there.
study::Launcher read_launcher(const run::CommandLine& line);

/// What mumoe scale was told, whatever the kind of its study.
struct ScaleCall {
  const Invocation& invocation;
  study::Launcher launcher;
  std::filesystem::path study;
  std::filesystem::path out;  ///< Absolute.
  bool dry = false;           ///< Show commands, run nothing.
  bool retry = true;
  std::string json;  ///< File for the table, - for stdout; empty: none.
  /// Folders of studies that tell what to expect; may be empty.
  std::vector<std::string> predict = {};

  /// A line of progress: on stdout, unless that is for --json alone.
  void tell(const std::string& text) const;
  /// Throws `InputError` where a cell cannot be run: by its layout, or by the
  /// launcher's nodes.
  void check(const study::StudyCell& cell) const;
  /// "stopped by a signal: 2 of 10 runs are in FOLDER; ..."
  std::string stopped_text(std::size_t there, std::size_t all) const;
};

/// What `failed` of `all` runs that failed come to, the first of them `name`,
/// which ended with `code` for the reason `why`: an error to throw.
Error failures(std::size_t failed,
               std::size_t all,
               const std::string& name,
               int code,
               const std::string& why);

/// Throws what the first of `results` that failed ended with, and says how many
/// did. `name`: the member that runs are called by.
template <class Result>
void require_all(const std::vector<Result>& results,
                 std::string Result::*name) {
  const auto failed = [](const Result& result) {
    return !result.failed.empty();
  };
  const auto first = std::ranges::find_if(results, failed);
  if (first == results.end()) return;
  throw failures(
      static_cast<std::size_t>(std::ranges::count_if(results, failed)),
      results.size(),
      *first.*name,
      first->code,
      first->failed);
}

/// mumoe scale of a loss study (study/loss/loss_study.h).
ExitCode scale_loss(const ScaleCall& call);

}  // namespace mumoe::launch
