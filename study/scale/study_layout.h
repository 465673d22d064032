#pragma once

#include <string>
#include <utility>
#include <vector>

#include "study/scale/json_place.h"

namespace mumoe::study {

/// Keys of a run with their values, in the order in which they are given.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// One layout of a study.
struct StudyLayout {
  int dp = 1;
  int tp = 1;
  /// Those of a run; a plan only where tp cuts something.
  Settings settings = {};
  std::string name = {};                 ///< "1x2-sequence-zero0"
  std::vector<std::string> models = {};  ///< That it is for; none: all.

  bool is_for(const std::string& model) const;
};

/// All layouts that one entry {dp, tp, plan, zero, micro_batch, recompute,
/// models} of a study stands for; `models`: all that there are. Throws
/// `InputError`: where, what was expected.
std::vector<StudyLayout> study_layouts(const JsonPlace& place,
                                       const std::vector<std::string>& models);

}  // namespace mumoe::study
