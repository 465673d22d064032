#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "run/checkpoint_survey.h"

namespace mumoe::run {

/// What a run directory is like.
struct RunSurvey {
  std::filesystem::path folder;
  std::vector<CheckpointSurvey> checkpoints = {};  ///< By step.
  /// The one that a run would go on from: the newest that is whole or
  /// can be rebuilt.
  std::optional<std::filesystem::path> newest = {};
  /// checkpoints/best, and its loss in nats a target.
  std::optional<CheckpointSurvey> best = {};
  std::optional<double> best_loss = {};
  /// The last line of metrics.jsonl that tells of a step; empty: none does.
  std::string last_step = {};
  /// Those of config.cfg; where that is gone, of the newest checkpoint.
  std::map<std::string, std::string> settings = {};
  std::vector<std::string> notes = {};
  /// Of all its checkpoints.
  std::vector<std::string> damage = {};
};

/// Looks at the run in `folder`, as `survey_checkpoint` does at each of its
/// checkpoints, and changes nothing. The run may go on meanwhile: a checkpoint
/// that it removes is left out. Throws `InputError` where the folder of its
/// checkpoints cannot be listed.
RunSurvey survey_run(const std::filesystem::path& folder, bool verify);

}  // namespace mumoe::run
