#pragma once

#include <span>
#include <vector>

#include "study/loss/form_comparison.h"
#include "study/loss/iso_flops.h"
#include "study/loss/law_draws.h"
#include "study/loss/loss_cells.h"

namespace mumoe::study {

/// All that the points of a study say.
struct LossAnalysis {
  /// Dense first, the others in the order in which they come up.
  std::vector<FormLosses> forms = {};
  /// Of each of `forms`, at one set of budgets.
  std::vector<std::vector<IsoFlop>> iso_flops = {};
  /// The law of the points of all forms, where there are several.
  std::optional<DrawnLaw> together = {};
  /// Each form but the first against the first.
  std::vector<FormComparison> comparisons = {};
  SeedNoise noise = {};
  int draws = 0;
  std::size_t points = 0;                ///< That all of it is of.
  std::vector<LossPoint> left_out = {};  ///< Whose loss is not finite.
};

/// Of all points that have a loss. Throws `InputError` as `check_points` and
/// `loss_curves`, and where none has.
LossAnalysis analyse_losses(std::span<const LossPoint> points,
                            const DrawOptions& options = {});

}  // namespace mumoe::study
