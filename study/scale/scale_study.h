#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "run/options.h"
#include "study/scale/study_layout.h"

namespace mumoe::study {

/// One model on one layout, under weak or strong scaling.
struct StudyCell {
  std::string name;  ///< "cp/1x2-sequence/strong"; also that of its folder.
  std::string model;
  std::string scaling;  ///< strong or weak
  int dp = 1;
  int tp = 1;
  /// All that the study says of it, on top of the configuration.
  Settings settings = {};
  run::Options options = {};  ///< All of it, resolved.

  int ranks() const { return dp * tp; }
};

/// A scaling study: models × layouts × (weak, strong), each measured several
/// times.
struct ScaleStudy {
  std::filesystem::path file;
  std::string text;  ///< Of the file.
  std::string name;
  std::filesystem::path config;  ///< Of all runs; empty: the default recipe.
  std::string config_hash;       ///< Of what that says.
  std::int64_t steps = 10;       ///< Measured ones of a run.
  std::int64_t skip = 2;         ///< Steps before those.
  int repeats = 3;
  double minutes = 30;  ///< What one run may take.
  /// Whether a short run more of each cell tells what it waits for.
  bool exposed = true;
  std::vector<StudyCell> cells;  ///< Of different names.
};

/// Throws `InputError` where a cell cannot be run.
using CheckCell = std::function<void(const StudyCell&)>;

/// Reads a study: an object with
///
///   name      [that of the file]
///   config    a configuration file [the default recipe]
///   settings  {key of a run: value} for all cells [none]
///   models    {name: {key of a run: value}}
///   layouts   [{dp, tp, plan, zero, micro_batch, recompute}], each a value or
///             a list of values: all of them; models: [name] those of them that
///             it is for [all]
///   scaling   ["strong", "weak"] or one of them [both]; weak: train.batch is
///             that of one rank, strong: of all
///   steps, skip, repeats, minutes, exposed
///
/// A plan counts where tp is more than 1. Every cell's options are resolved,
/// and `check` is asked of it. Throws `InputError`: file, where in it, what was
/// expected.
ScaleStudy read_study(const std::filesystem::path& file,
                      const CheckCell& check = {});

}  // namespace mumoe::study
