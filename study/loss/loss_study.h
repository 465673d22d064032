#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "study/loss/law_draws.h"
#include "study/scale/run_facts.h"
#include "study/scale/scale_study.h"

namespace mumoe::study {

/// A size of a loss study.
struct LossModel {
  std::string form = {};         ///< dense, cp, tr, ...
  std::string target = "token";  ///< Or "image".
  ModelCounts counts = {};
  std::int64_t step_targets = 0;  ///< Tokens, or images, of a step.
};

/// One run of a loss study: a budget to its end, or a part of a stable run,
/// which other runs branch from.
struct LossRun {
  /// "cp/seed-1/budget-480", "cp/seed-1/stable-384", by the last step; with all
  /// of the run's settings but where it branches from.
  StudyCell cell;
  std::int64_t seed = 0;
  /// Tokens (images) asked for; 0: a part of a stable run.
  std::int64_t budget = 0;
  /// The run that this one branches from, an earlier one of the study's; none:
  /// it begins at step 0.
  std::optional<std::size_t> from = {};
  std::int64_t first_step = 0;  ///< That it branches at.
  std::int64_t last_step = 0;

  std::int64_t steps() const { return last_step - first_step; }
};

/// Losses of several sizes after several budgets.
///
/// Branched (schedule.kind = wsd), all budgets of a model and seed share one
/// stable run, so that each costs its own decay alone. The stable run is a
/// chain of runs, each in a folder of its own that begins where the last one
/// ends: at the steps at which budgets leave it. So a checkpoint lies at every
/// such step, at its run's end, whatever these steps are; and as long as a run
/// that needs it is not there yet. The longest budget is the end of the chain:
///
///   stable-s1 ── stable-s2 ── budget-b3     (decays from its own s3 on)
///       └ budget-b1  └ budget-b2
struct LossStudy {
  ScaleStudy common;  ///< File, name, config, minutes; it has no cells.
  std::vector<std::int64_t> budgets;  ///< Tokens (images), ascending.
  std::vector<std::int64_t> seeds;
  double decay = 0.2;      ///< Share of a budget's steps.
  bool branched = true;    ///< Else each budget has its own run, a cosine.
  DrawOptions draws = {};  ///< Of the intervals in its report.
  std::map<std::string, LossModel> models;
  std::vector<LossRun> runs;  ///< In the order in which they are run.

  const LossModel& model_of(const LossRun& run) const {
    return models.at(run.cell.model);
  }
  /// Tokens (images) of all runs of one seed of `model`, over those of its
  /// longest budget.
  double cost_ratio(const std::string& model) const;
};

/// Whether `file` is a loss study: an object with a member that only these
/// have. One that cannot be read is none.
bool is_loss_study(const std::filesystem::path& file);

/// Reads a loss study: an object with
///
///   budgets   [tokens, ...] (images) seen in training, ascending; each is
///             rounded up to whole steps of train.batch samples
///   models    {name: {key of a run: value}}
///   name      [that of the file]
///   config    a configuration file [the default recipe]
///   settings  {key of a run: value} for all runs [none]
///   layout    {dp, tp, plan, zero, micro_batch, recompute} of all runs [1
///   rank] seeds     [1] decay     share of each budget's steps in which the
///   rate comes down [0.2] minutes   that one run may take [30] branch false:
///   each budget has a run of its own, with a cosine [true] draws     of the
///   bootstrap that makes intervals [200], by draw_seed [1]
///
/// The warm-up, where the settings leave it to itself, is a tenth of the
/// smallest budget's steps, at most 2000, for all runs of a model. Every run's
/// options are resolved, and `check` is asked of one of each model. Throws
/// `InputError`: file, where in it, what was expected.
LossStudy read_loss_study(const std::filesystem::path& file,
                          const CheckCell& check = {});

}  // namespace mumoe::study
