#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "study/report/chart.h"
#include "study/report/scale_cells.h"

namespace mumoe::study {

/// In a look: of no colour, as for what was not measured.
inline constexpr int kNoColour = -1;

/// The families of one panel, and by their names the number of their colour
/// and mark, which is one in all charts.
struct Scope {
  const std::vector<ScaleCell>& cells;
  std::vector<Family> families;
  const std::map<std::string, int>& looks;
};

/// GPU memory of a run where it has some, else resident memory of its process.
std::optional<double> memory_mib(const ScaleResult& run);

/// Over all runs of all cells; 0 where none has any.
double largest(const std::vector<ScaleCell>& cells, const Quantity& quantity);

/// Of one axis, a step.
double most_bytes(const std::vector<ScaleCell>& cells);

/// Series over ranks, a point a cell: medians with the least and the largest of
/// the repeats. Predictions are dashed without marks, with their interval as a
/// band; the ideal is dotted, without colour.
std::vector<Series> throughput_series(const Scope& scope);
/// In percent of the baseline.
std::vector<Series> efficiency_series(const Scope& scope);
/// MFU, and dashed the speed of light, in percent.
std::vector<Series> peak_series(const Scope& scope);
/// In `unit` MiB.
std::vector<Series> memory_series(const Scope& scope, double unit);
/// In `unit` bytes: over dp, dashed over tp, dotted over all ranks; without
/// those that stay below a hundredth of `most_bytes`.
std::vector<Series> bytes_series(const Scope& scope, double unit);
/// In ms a step.
std::vector<Series> exposed_series(const Scope& scope);

}  // namespace mumoe::study
