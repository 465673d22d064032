#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "study/experts/bootstrap.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// How well a model does on each class with all experts of a gate, and without
/// each of them. A score is 1 for a right prediction of a classifier and 0 for
/// a wrong one; of a language model, whose classes are the tokens to be
/// predicted, the token's log-likelihood in nats.
struct ClassScores {
  Gate gate;
  std::int64_t classes = 0;
  std::vector<std::int64_t> targets;  ///< Of each class.
  std::vector<double> with_all;       ///< Σ of the scores, [classes]
  std::vector<double> without;        ///< [experts, classes]
  /// Targets (or, where a sample has several tokens, samples) with a
  /// coefficient of each expert that is not 0.
  std::vector<std::int64_t> active;

  std::int64_t all_targets() const;
  /// Mean score of all targets, with all experts or without one.
  double score() const;
  double score_without(std::size_t expert) const;
};

/// What counts as damage to a class whose mean score is y with an expert and
/// y' without it: |y − y'|, or max(y − y', 0).
enum class Damage { change, drop };

/// What one expert is for.
struct ExpertFocus {
  double score_without = 0;  ///< Of all targets.
  /// The class that its removal damages most, and how much it takes from the
  /// class's mean score (less than 0: the class gains).
  std::int64_t top_class = 0;
  double taken = 0;
  /// ‖d − 1_top‖₂ of the damages d that sum to 1: 0 where all is done to one
  /// class, √(1 − 1/C) where C classes share it evenly; none where nothing is
  /// damaged.
  std::optional<double> polysemanticity = {};
};

/// Class-level polysemanticity of a gate's experts. The paper plots it over the
/// number of experts; what is published of it leaves the normalisation open,
/// which is this program's.
struct Specialisation {
  std::vector<ExpertFocus> experts;
  std::int64_t skipped = 0;  ///< Without damage.
  /// The mean over the others and its bootstrap over them; none of none.
  std::optional<double> mean = {};
  std::optional<Interval> interval = {};
};

/// Of damages of at least 0, not normalised; none where their sum is 0.
std::optional<double> polysemanticity(std::span<const double> damages);

Specialisation specialisation(const ClassScores& scores, Damage damage);

/// "change", "drop"; throws `InputError` for another name, as of --damage.
Damage damage_named(std::string_view name);

}  // namespace mumoe::study
