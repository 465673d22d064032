#include "study/experts/focus.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace mumoe::study {
namespace {

double sum_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

ExpertFocus focus_of(const ClassScores& scores,
                     std::size_t expert,
                     Damage damage) {
  const auto classes = static_cast<std::size_t>(scores.classes);
  std::vector<double> taken(classes), damages(classes);
  for (std::size_t c = 0; c < classes; ++c) {
    if (scores.targets[c] == 0) continue;
    taken[c] = (scores.with_all[c] - scores.without[expert * classes + c]) /
               static_cast<double>(scores.targets[c]);
    damages[c] =
        damage == Damage::change ? std::abs(taken[c]) : std::max(taken[c], 0.0);
  }
  const auto top = std::ranges::max_element(damages) - damages.begin();
  return {.score_without = scores.score_without(expert),
          .top_class = top,
          .taken = taken[static_cast<std::size_t>(top)],
          .polysemanticity = polysemanticity(damages)};
}

}  // namespace

std::int64_t ClassScores::all_targets() const {
  return std::accumulate(targets.begin(), targets.end(), std::int64_t{0});
}

double ClassScores::score() const {
  return sum_of(with_all) / static_cast<double>(all_targets());
}

double ClassScores::score_without(std::size_t expert) const {
  const auto count = static_cast<std::size_t>(classes);
  return sum_of(std::span(without).subspan(expert * count, count)) /
         static_cast<double>(all_targets());
}

std::optional<double> polysemanticity(std::span<const double> damages) {
  const double sum = sum_of(damages);
  if (!(sum > 0)) return {};
  const auto top = std::ranges::max_element(damages);
  double squares = 0;
  for (auto d = damages.begin(); d != damages.end(); ++d) {
    squares += std::pow(*d / sum - (d == top ? 1 : 0), 2);
  }
  return std::sqrt(squares);
}

Specialisation specialisation(const ClassScores& scores, Damage damage) {
  Specialisation found;
  std::vector<double> values;
  for (std::size_t n = 0; n < static_cast<std::size_t>(scores.gate.experts);
       ++n) {
    const ExpertFocus& focus =
        found.experts.emplace_back(focus_of(scores, n, damage));
    if (focus.polysemanticity) {
      values.push_back(*focus.polysemanticity);
    } else {
      ++found.skipped;
    }
  }
  if (values.empty()) return found;
  found.mean = mean_of(values);
  found.interval = bootstrap_mean(values);
  return found;
}

Damage damage_named(std::string_view name) {
  require(name == "change" || name == "drop",
          "--damage {}: expected change or drop",
          name);
  return name == "change" ? Damage::change : Damage::drop;
}

}  // namespace mumoe::study
