#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "study/loss/loss_point.h"
#include "study/scale/results_file.h"

namespace mumoe::study {

/// One run of a loss study: one line of its results.jsonl.
struct LossResult {
  std::string study = {};
  std::string run = {};  ///< Its name: "cp/seed-1/budget-480".
  std::string model = {};
  std::string form = {};  ///< dense, cp, tr, ...
  std::int64_t seed = 0;
  bool branched = false;    ///< By schedule.kind = wsd; else a cosine.
  std::int64_t budget = 0;  ///< Asked for; 0: a part of a stable run.
  int dp = 1;
  int tp = 1;
  std::string precision = {};
  std::int64_t parameters = 0;  ///< Trained ones, embeddings left out.
  std::int64_t embeddings = 0;
  double flops_per_target = 0;   ///< Forward and backward.
  std::string target = "token";  ///< Or "image".
  std::int64_t first_step = 0;   ///< That it branches at.
  std::int64_t last_step = 0;
  std::int64_t targets = 0;  ///< Seen from step 0 on.
  double loss = 0;     ///< Validation loss at the end; none of a stable part.
  double seconds = 0;  ///< Of its own steps.
  std::string command = {};  ///< What was run.
  /// Of the settings in the configuration of the study (`config_hash`).
  std::optional<std::string> config_hash = {};
  std::string version = {};   ///< Of the program.
  std::string finished = {};  ///< UTC in ISO 8601.
  /// Why it did not come to its end, one line; empty: it did.
  std::string failed = {};
  int code = 0;  ///< What the run ended with.

  bool operator==(const LossResult&) const = default;
};

/// One line of JSON without its end; null for what is not finite.
std::string to_json(const LossResult& result);

/// What `line` says. Throws `InputError` that begins with `where` (file and
/// line) and names the member that is missing or of another type.
LossResult loss_from_json(std::string_view line, const std::string& where);

using LossFolder = ResultsFolder<LossResult, loss_from_json>;

/// Where the budgets ended that came to their end.
std::vector<LossPoint> loss_points(const std::vector<LossResult>& results);

}  // namespace mumoe::study
