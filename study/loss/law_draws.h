#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "study/loss/loss_law.h"

namespace mumoe::study {

/// From `low` to `high`, which may be infinite.
struct Range {
  double low = 0;
  double high = 0;
};

struct DrawOptions {
  int draws = 200;
  std::uint64_t seed = 1;
};

/// The law of some points, and how certain it is.
struct DrawnLaw {
  LawFit fit = {};
  std::vector<LossLaw> draws = {};  ///< Of those that gave a law.
  int failed = 0;                   ///< Draws that gave none.
  /// Root of the mean square of log(measured / predicted); 0 without a law.
  double scatter = 0;

  /// The 90 % interval of what a law says: from 5 to 95 % of the draws. None
  /// with fewer than 20.
  std::optional<Range> range(
      const std::function<double(const LossLaw&)>& of) const;
};

/// The 90 % interval of `values` by percentiles; none of fewer than 20.
std::optional<Range> range_of(std::vector<double> values);

/// Fits the law of `points`, and again in each draw of a bootstrap (Efron and
/// Tibshirani, 1993, chapter 6): as many cells of model and tokens as there
/// are, drawn with replacement, and of each as many of its seeds; from the law
/// of all points on. A draw fails that has too few cells, or an exponent that
/// goes to its bound. The same points, draws and seed give the same.
DrawnLaw draw_laws(std::span<const LossPoint> points,
                   const DrawOptions& options = {});

}  // namespace mumoe::study
