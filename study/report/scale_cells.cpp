#include "study/report/scale_cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

namespace mumoe::study {
namespace {

/// Which settings a study varies beside the layout.
struct Varied {
  bool zero = false;
  bool micro_batch = false;
  bool recompute = false;
  bool precision = false;
};

template <class Member>
bool differs(const std::vector<ScaleCell>& cells, Member member) {
  std::set<std::tuple<std::string, std::string>> of;
  for (const ScaleCell& cell : cells) {
    of.emplace(cell.what.model, fmt::format("{}", cell.what.*member));
  }
  std::set<std::string> models;
  for (const auto& [model, value] : of) models.insert(model);
  return of.size() > models.size();
}

/// Whether one layout of a model was run with several micro-batches. Left to
/// itself each layout has one of its own, all samples of a rank: that follows
/// from the ranks and is no setting.
bool varies_micro_batch(const std::vector<ScaleCell>& cells) {
  std::map<std::string, std::int64_t> of;
  return std::any_of(cells.begin(), cells.end(), [&](const ScaleCell& cell) {
    const ScaleResult& what = cell.what;
    // What was not measured does not know it.
    if (!cell.measured()) return false;
    const std::string layout = fmt::format("{} {} {} {} {} {} {} {}",
                                           what.model,
                                           what.scaling,
                                           what.dp,
                                           what.tp,
                                           what.plan,
                                           what.zero,
                                           what.recompute,
                                           what.precision);
    return of.emplace(layout, what.micro_batch).first->second !=
           what.micro_batch;
  });
}

/// The settings that are varied, as a name's end.
std::string extras(const ScaleResult& what, const Varied& varied) {
  std::string text;
  if (varied.zero) text += fmt::format(", zero {}", what.zero);
  if (varied.micro_batch) {
    text += fmt::format(", micro-batch {}", what.micro_batch);
  }
  if (varied.recompute && what.recompute) text += ", recomputing";
  if (varied.precision) text += ", " + what.precision;
  return text;
}

/// 0: one rank; 1: dp alone; 2: tp alone; 3: both.
int kind_of(const ScaleResult& what) {
  return (what.dp > 1 ? 1 : 0) + (what.tp > 1 ? 2 : 0);
}

std::string layout_name(const ScaleResult& what) {
  switch (kind_of(what)) {
    case 0:
      return "one rank";
    case 1:
      return "dp";
    case 2:
      return "tp, " + what.plan;
    default:
      return fmt::format("dp × tp {}, {}", what.tp, what.plan);
  }
}

bool alike(const ScaleResult& a, const ScaleResult& b) {
  return a.model == b.model && a.scaling == b.scaling;
}

double rate(const ScaleCell& cell) {
  const auto found =
      cell.spread([](const ScaleResult& run) { return run.targets_per_s; });
  return found ? found->median : 0;
}

/// Adds one-rank cells to the families of their model, scaling and extras; a
/// family of its own is left to those without one.
void add_single_ranks(const std::vector<ScaleCell>& cells,
                      const Varied& varied,
                      std::vector<Family>& families) {
  for (const ScaleCell& cell : cells) {
    if (kind_of(cell.what) != 0) continue;
    bool found = false;
    for (Family& family : families) {
      const ScaleResult& other = family.cells.front()->what;
      if (!alike(other, cell.what) ||
          extras(other, varied) != extras(cell.what, varied)) {
        continue;
      }
      family.cells.insert(family.cells.begin(), &cell);
      found = true;
    }
    if (!found) {
      families.push_back({cell.what.model,
                          cell.what.scaling,
                          "one rank" + extras(cell.what, varied),
                          {&cell}});
    }
  }
}

}  // namespace

std::optional<Spread> ScaleCell::spread(const Quantity& quantity) const {
  std::vector<double> values;
  for (const ScaleResult& run : runs) {
    const auto value = quantity(run);
    if (value && std::isfinite(*value)) values.push_back(*value);
  }
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1
                            ? values[half]
                            : (values[half - 1] + values[half]) / 2;
  return Spread{median, values.front(), values.back()};
}

std::vector<ScaleCell> cells_of(const std::vector<ScaleResult>& results) {
  std::vector<ScaleCell> cells;
  for (const ScaleResult& result : results) {
    auto cell =
        std::find_if(cells.begin(), cells.end(), [&](const ScaleCell& other) {
          return other.what.cell == result.cell &&
                 other.what.study == result.study;
        });
    if (cell == cells.end()) cell = cells.insert(cell, {result});
    if (result.predicted) cell->predicted = result.predicted;
    if (!result.failed.empty()) {
      cell->failures.push_back(result);
      continue;
    }
    const auto before = std::find_if(
        cell->runs.begin(),
        cell->runs.end(),
        [&](const ScaleResult& run) { return run.repeat == result.repeat; });
    if (before != cell->runs.end()) {
      *before = result;
    } else {
      cell->runs.push_back(result);
    }
    cell->what = result;
  }
  return cells;
}

std::vector<Family> families_of(const std::vector<ScaleCell>& cells) {
  const Varied varied = {differs(cells, &ScaleResult::zero),
                         varies_micro_batch(cells),
                         differs(cells, &ScaleResult::recompute),
                         differs(cells, &ScaleResult::precision)};
  std::vector<Family> families;
  for (const ScaleCell& cell : cells) {
    if (kind_of(cell.what) == 0) continue;
    const auto name = layout_name(cell.what) + extras(cell.what, varied);
    auto family =
        std::find_if(families.begin(), families.end(), [&](Family& other) {
          return other.name == name && alike(other.cells[0]->what, cell.what);
        });
    if (family == families.end()) {
      family = families.insert(family,
                               {cell.what.model, cell.what.scaling, name, {}});
    }
    family->cells.push_back(&cell);
  }
  add_single_ranks(cells, varied, families);
  for (Family& family : families) {
    std::stable_sort(family.cells.begin(),
                     family.cells.end(),
                     [](const ScaleCell* a, const ScaleCell* b) {
                       return a->what.ranks < b->what.ranks;
                     });
  }
  std::stable_sort(families.begin(),
                   families.end(),
                   [](const Family& a, const Family& b) {
                     const auto key = [](const Family& family) {
                       const ScaleResult& last = family.cells.back()->what;
                       return std::tuple(kind_of(last),
                                         last.tp * (kind_of(last) == 3));
                     };
                     return key(a) < key(b);
                   });
  return families;
}

const ScaleCell* baseline_of(const std::vector<ScaleCell>& cells,
                             const ScaleCell& cell) {
  const ScaleCell* best = nullptr;
  for (const ScaleCell& other : cells) {
    if (!other.measured() || !alike(other.what, cell.what) ||
        other.what.precision != cell.what.precision || !(rate(other) > 0)) {
      continue;
    }
    if (best == nullptr || other.what.ranks < best->what.ranks ||
        (other.what.ranks == best->what.ranks && rate(other) > rate(*best))) {
      best = &other;
    }
  }
  return best;
}

std::optional<double> efficiency(const ScaleCell& baseline,
                                 const ScaleResult& run) {
  const double ideal = rate(baseline) / baseline.what.ranks * run.ranks;
  return ideal > 0 ? std::optional(run.targets_per_s / ideal) : std::nullopt;
}

std::optional<double> targets_a_step(const std::vector<ScaleCell>& cells,
                                     const ScaleCell& cell) {
  for (const ScaleCell& other : cells) {
    if (!other.measured() || other.what.model != cell.what.model ||
        other.what.batch <= 0) {
      continue;
    }
    const ScaleResult& run = other.runs.front();
    const double targets = run.targets_per_s * run.step_ms / 1000;
    if (!std::isfinite(targets)) continue;
    return targets / static_cast<double>(run.batch) *
           static_cast<double>(cell.what.batch);
  }
  return {};
}

}  // namespace mumoe::study
