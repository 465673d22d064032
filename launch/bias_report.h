#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "study/experts/fairness.h"

namespace mumoe::launch {

/// One technique of `mumoe study bias`.
struct BiasTechnique {
  std::string name;
  /// Chosen on the half for that; none: it has none. Of random experts, the
  /// mean of the sizes of theirs.
  std::optional<double> lambda = {};
  study::FairnessFound found = {};
  /// Where it has a lambda of its own: what each of them does to the half that
  /// is reported.
  std::vector<std::pair<double, study::Fairness>> curve = {};
};

/// What `mumoe study bias` has looked at and found.
struct BiasReport {
  std::string run;
  std::string checkpoint;
  std::int64_t step = 0;
  std::string model;
  std::string data;
  std::string target, group, subpopulation;
  std::string gate;
  std::string chosen_by;
  double cost = 0;  ///< Of accuracy, that a lambda may have.
  /// Samples of each subgroup, by `Subgroup::place`: of training, and of the
  /// half that is reported.
  std::vector<std::int64_t> trained, tested;
  std::vector<BiasTechnique> techniques;
};

/// For a terminal; with a line feed.
std::string bias_table(const BiasReport& report, std::size_t columns);
/// All of it, with a line feed; what is not known is null.
std::string bias_json(const BiasReport& report);

}  // namespace mumoe::launch
