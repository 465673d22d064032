#include "study/report/scale_series.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mumoe::study {
namespace {

Look look(const Scope& scope, const Family& family, Line line, bool marks) {
  return {scope.looks.at(family.name), line, marks};
}

std::optional<double> over(const std::optional<double>& value, double unit) {
  return value ? std::optional(*value / unit) : std::nullopt;
}

Series measured(const Scope& scope,
                const Family& family,
                const Quantity& quantity,
                Line line = Line::solid) {
  Series series{family.name, look(scope, family, line, true)};
  for (const ScaleCell* cell : family.cells) {
    const auto found = cell->spread(quantity);
    if (!found) continue;
    series.points.push_back({static_cast<double>(cell->what.ranks),
                             found->median,
                             found->low,
                             found->high});
  }
  return series;
}

/// Predicted targets/s of a cell, and the ends of the interval.
std::optional<Spread> predicted_rate(const std::vector<ScaleCell>& cells,
                                     const ScaleCell& cell) {
  const auto targets = targets_a_step(cells, cell);
  if (!targets || !cell.predicted || !(cell.predicted->low_ms > 0)) return {};
  const double per_ms = 1000 * *targets;
  return Spread{per_ms / cell.predicted->step_ms,
                per_ms / cell.predicted->high_ms,
                per_ms / cell.predicted->low_ms};
}

/// A dashed line and its band through `value` of each cell.
template <class Value>
Series predicted(const Scope& scope, const Family& family, const Value& value) {
  Series series{"", look(scope, family, Line::dashed, false)};
  for (const ScaleCell* cell : family.cells) {
    const std::optional<Spread> found = value(*cell);
    if (!found) continue;
    const auto ranks = static_cast<double>(cell->what.ranks);
    series.points.push_back({ranks, found->median});
    if (found->low < found->high) {
      series.band.push_back({ranks, found->low, found->high});
    }
  }
  return series;
}

/// The ideal from the baseline to the most ranks: `value` of targets/s a rank.
template <class Value>
void add_ideal(const Scope& scope,
               std::vector<Series>& series,
               const Value& value) {
  const ScaleCell* baseline = nullptr;
  int most = 0;
  for (const Family& family : scope.families) {
    for (const ScaleCell* cell : family.cells) {
      if (baseline == nullptr) baseline = baseline_of(scope.cells, *cell);
      most = std::max(most, cell->what.ranks);
    }
  }
  if (baseline == nullptr) return;
  Series ideal{"ideal", {kNoColour, Line::dotted, false}};
  for (const int ranks : {baseline->what.ranks, most}) {
    const auto rate = baseline->spread(
        [](const ScaleResult& run) { return run.targets_per_s / run.ranks; });
    ideal.points.push_back(
        {static_cast<double>(ranks), value(rate->median, ranks)});
  }
  series.insert(series.begin(), std::move(ideal));
}

}  // namespace

std::optional<double> memory_mib(const ScaleResult& run) {
  return run.gpu_mib ? run.gpu_mib : run.rss_mib;
}

double largest(const std::vector<ScaleCell>& cells, const Quantity& quantity) {
  double most = 0;
  for (const ScaleCell& cell : cells) {
    if (const auto found = cell.spread(quantity)) {
      most = std::max(most, found->high);
    }
  }
  return most;
}

double most_bytes(const std::vector<ScaleCell>& cells) {
  return largest(cells, [](const ScaleResult& run) {
    return std::max({run.dp_bytes, run.tp_bytes, run.all_bytes});
  });
}

std::vector<Series> throughput_series(const Scope& scope) {
  std::vector<Series> series;
  for (const Family& family : scope.families) {
    series.push_back(
        measured(scope, family, [](auto& run) { return run.targets_per_s; }));
    series.push_back(predicted(scope, family, [&](const ScaleCell& cell) {
      return predicted_rate(scope.cells, cell);
    }));
  }
  add_ideal(scope, series, [](double rate, int ranks) { return rate * ranks; });
  return series;
}

std::vector<Series> efficiency_series(const Scope& scope) {
  const auto percent = [&](const ScaleCell& cell, double rate) {
    const ScaleCell* baseline = baseline_of(scope.cells, cell);
    ScaleResult run = cell.what;
    run.targets_per_s = rate;
    const auto share =
        baseline == nullptr ? std::nullopt : efficiency(*baseline, run);
    return share ? 100 * *share : std::nan("");
  };
  std::vector<Series> series;
  for (const Family& family : scope.families) {
    const ScaleCell* baseline = baseline_of(scope.cells, *family.cells.front());
    if (baseline == nullptr) continue;
    series.push_back(measured(scope, family, [&](const ScaleResult& run) {
      return over(efficiency(*baseline, run), 0.01);
    }));
    series.push_back(predicted(scope, family, [&](const ScaleCell& cell) {
      auto rate = predicted_rate(scope.cells, cell);
      if (!rate) return rate;
      return std::optional(Spread{percent(cell, rate->median),
                                  percent(cell, rate->low),
                                  percent(cell, rate->high)});
    }));
  }
  add_ideal(scope, series, [](double, int) { return 100.; });
  return series;
}

std::vector<Series> peak_series(const Scope& scope) {
  std::vector<Series> series;
  for (const Family& family : scope.families) {
    series.push_back(
        measured(scope, family, [](auto& run) { return 100 * run.mfu; }));
    auto sol = measured(
        scope,
        family,
        [](const ScaleResult& run) { return over(run.sol, 0.01); },
        Line::dashed);
    sol.look.marks = false;
    for (ChartPoint& point : sol.points) point.low = point.high = {};
    series.push_back(std::move(sol));
  }
  return series;
}

std::vector<Series> memory_series(const Scope& scope, double unit) {
  std::vector<Series> series;
  for (const Family& family : scope.families) {
    series.push_back(measured(scope, family, [&](const ScaleResult& run) {
      return over(memory_mib(run), unit);
    }));
    series.push_back(predicted(scope, family, [&](const ScaleCell& cell) {
      if (!cell.predicted || !(cell.predicted->memory_mib > 0)) {
        return std::optional<Spread>();
      }
      const double at = cell.predicted->memory_mib / unit;
      return std::optional(Spread{at, at, at});
    }));
  }
  return series;
}

std::vector<Series> bytes_series(const Scope& scope, double unit) {
  static const std::pair<double ScaleResult::*, Line> kAxes[] = {
      {&ScaleResult::dp_bytes, Line::solid},
      {&ScaleResult::tp_bytes, Line::dashed},
      {&ScaleResult::all_bytes, Line::dotted}};
  const double most = most_bytes(scope.cells);
  std::vector<Series> series;
  for (const Family& family : scope.families) {
    for (const auto& [member, line] : kAxes) {
      auto axis = measured(
          scope,
          family,
          [&, member = member](auto& run) { return run.*member / unit; },
          line);
      const bool some =
          std::any_of(axis.points.begin(), axis.points.end(), [&](auto& point) {
            return point.y > 0 && point.y * unit >= most / 100;
          });
      if (some) series.push_back(std::move(axis));
    }
  }
  return series;
}

std::vector<Series> exposed_series(const Scope& scope) {
  std::vector<Series> series;
  for (const Family& family : scope.families) {
    series.push_back(
        measured(scope, family, [](auto& run) { return run.exposed_ms; }));
  }
  return series;
}

}  // namespace mumoe::study
