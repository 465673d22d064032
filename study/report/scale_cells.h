#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "study/scale/scale_result.h"

namespace mumoe::study {

/// What several runs of one cell gave: the median and the ends.
struct Spread {
  double median = 0;
  double low = 0;
  double high = 0;
};

/// A number of a run; none where it was not measured.
using Quantity = std::function<std::optional<double>(const ScaleResult&)>;

/// One cell of a study with all its runs.
struct ScaleCell {
  ScaleResult what;                        ///< Its settings: any of its runs.
  std::vector<ScaleResult> runs = {};      ///< Measured, one a repeat.
  std::vector<ScaleResult> failures = {};  ///< All that were not.
  std::optional<Predicted> predicted = {};

  bool measured() const { return !runs.empty(); }
  /// Over the runs that have a finite one; none where no run has.
  std::optional<Spread> spread(const Quantity& quantity) const;
};

/// The runs by their cells, in the order in which cells come up. Of a repeat
/// that was measured several times the last counts.
std::vector<ScaleCell> cells_of(const std::vector<ScaleResult>& results);

/// Cells of one model and scaling that differ in how many ranks they have, and
/// so are one line in a chart.
struct Family {
  std::string model;
  std::string scaling;
  std::string name;  ///< "dp", "tp, sequence", "dp × tp 2, bottleneck, zero 0"
  std::vector<const ScaleCell*> cells;  ///< By ranks; one rank is in them all.
};

/// The families of `cells`, which must outlive them: of pure data parallelism
/// first, then of pure tensor parallelism, then of both. A setting is in their
/// names where the study has several of it.
std::vector<Family> families_of(const std::vector<ScaleCell>& cells);

/// What efficiency is relative to: of the cells of its model, scaling and
/// precision with the fewest ranks, the fastest. Null where none was measured.
const ScaleCell* baseline_of(const std::vector<ScaleCell>& cells,
                             const ScaleCell& cell);

/// Targets/s a rank over those of the baseline; 1 is ideal.
std::optional<double> efficiency(const ScaleCell& baseline,
                                 const ScaleResult& run);

/// Targets (tokens or images) of a step of `cell`; where it was not measured,
/// by its batch and another cell of its model. None where that is not known.
std::optional<double> targets_a_step(const std::vector<ScaleCell>& cells,
                                     const ScaleCell& cell);

}  // namespace mumoe::study
