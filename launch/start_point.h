#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "run/command_line.h"
#include "run/damage.h"
#include "run/import_weights.h"
#include "run/options.h"
#include "run/resume.h"
#include "run/run_state.h"

namespace mumoe::launch {

/// Where a run begins.
struct StartPoint {
  /// As asked for, and as the checkpoint has it where they said `auto`; whether
  /// it resumes is yes or no: no for a branch, too.
  run::Options options;
  /// Of what was taken over.
  std::vector<std::string> reasons = {};
  /// What it goes on from, if it resumes or is a branch, and what that says of
  /// itself.
  std::optional<std::filesystem::path> checkpoint = {};
  run::RunState state = {};
  /// Settings that are not the checkpoint's, as train.force allows.
  std::set<std::string> forced = {};
  /// The weights that it begins with, if it neither resumes nor draws its own.
  std::shared_ptr<const run::OpenedWeights> from = {};
};

/// Where a run makes a folder of its own, but for its number: `runs/NAME`.
/// Empty: it makes none. A rank alone has no weights to keep.
std::filesystem::path numbered_out(const run::CommandLine& line);

/// Keys of which `now`, settings of the run, has a forced value that is not the
/// checkpoint's (`run::check_resumable`). Throws `InputError` naming one that
/// may not differ, or, of a branch, the first of the checkpoint's steps that
/// its schedule has another rate for (once its length is known; unless a key of
/// the schedule is forced); `run::DamagedCheckpoint` if what says so, the
/// manifest, is that of other files. Collective.
std::set<std::string> require_resumable(const StartPoint& start,
                                        const run::Settings& now,
                                        dist::Communicator& world);

/// Throws `InputError` when there is nothing to resume though it must, another
/// thing on some rank, or a run of other settings; when the weights to begin
/// with are not there or of another model. Checkpoints that are `known` to be
/// damaged are passed by. Collective.
StartPoint find_start(const run::Options& asked,
                      dist::Communicator& world,
                      const run::Damage& known);

}  // namespace mumoe::launch
