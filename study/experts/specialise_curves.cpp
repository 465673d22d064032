#include "study/experts/specialise_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "study/loss/loss_cells.h"

namespace mumoe::study {
namespace {

void add(SeedFigure& figure, double value) {
  if (std::isfinite(value)) figure.values.push_back(value);
}

std::string model_of(const SpecialiseResult& result) {
  return result.run.substr(0, result.run.rfind('/'));
}

}  // namespace

std::optional<double> SeedFigure::mean() const {
  return values.empty() ? std::nullopt : std::optional(mean_of(values));
}

std::optional<Interval> SeedFigure::interval() const {
  if (values.size() < 2) return {};
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += std::pow(value - mean, 2);
  const auto degrees = std::ssize(values) - 1;
  const double half =
      student_95(degrees) * std::sqrt(squares / static_cast<double>(degrees) /
                                      static_cast<double>(values.size()));
  return Interval{mean - half, mean + half};
}

std::vector<HeadFigures> head_figures(
    const std::vector<SpecialiseResult>& results) {
  std::vector<HeadFigures> heads;
  for (const SpecialiseResult& result : results) {
    if (!result.failed.empty()) continue;
    auto found =
        std::ranges::find(heads, model_of(result), &HeadFigures::model);
    if (found == heads.end()) {
      heads.push_back({.model = model_of(result),
                       .head = result.head,
                       .experts = result.experts,
                       .gate = result.gate,
                       .norm = result.norm,
                       .parameters = result.parameters,
                       .accuracy = {},
                       .polysemanticity = {},
                       .skipped = {},
                       .dead = {}});
      found = heads.end() - 1;
    }
    add(found->accuracy, result.accuracy);
    if (result.experts == 0) continue;
    const auto experts = static_cast<double>(result.experts);
    add(found->polysemanticity, result.polysemanticity);
    add(found->skipped, static_cast<double>(result.skipped) / experts);
    add(found->dead, static_cast<double>(result.dead) / experts);
  }
  std::ranges::stable_sort(heads, {}, [](const HeadFigures& head) {
    return std::tuple(head.experts > 0, head.norm, head.gate, head.experts);
  });
  return heads;
}

std::string gate_text(const HeadFigures& head) {
  return fmt::format("{}, {} norm", head.gate, head.norm);
}

}  // namespace mumoe::study
