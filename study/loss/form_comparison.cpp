#include "study/loss/form_comparison.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace mumoe::study {
namespace {

/// The interval of what two laws say together, over pairs of their draws, which
/// have nothing to do with each other.
std::optional<Range> paired_range(
    const DrawnLaw& a,
    const DrawnLaw& b,
    const std::function<double(const LossLaw&, const LossLaw&)>& of) {
  std::vector<double> values;
  const std::size_t pairs = std::min(a.draws.size(), b.draws.size());
  for (std::size_t i = 0; i < pairs; ++i) {
    values.push_back(of(a.draws[i], b.draws[i]));
  }
  return range_of(std::move(values));
}

/// log(loss / base loss) as one sum over cells.
BetweenLosses log_ratio(const LossCell& cell, const BetweenLosses& base) {
  BetweenLosses sum;
  sum.parts.emplace_back(&cell, 1);
  for (const auto& [other, weight] : base.parts) {
    sum.parts.emplace_back(other, -weight);
  }
  return sum;
}

void add_laws(const FormLosses& base,
              const FormLosses& other,
              LossDifference& cell) {
  if (!base.law.fit.law || !other.law.fit.law) return;
  const auto of = [&](const LossLaw& a, const LossLaw& b) {
    return b.at(cell.parameters, cell.tokens) -
           a.at(cell.parameters, cell.tokens);
  };
  cell.by_laws = of(*base.law.fit.law, *other.law.fit.law);
  cell.laws_range = paired_range(base.law, other.law, of);
}

void add_cells(const FormLosses& base,
               const FormLosses& other,
               const SeedNoise& noise,
               FormComparison& comparison) {
  BetweenLosses all;
  for (const LossCurve& curve : other.curves) {
    for (const LossCell& cell : curve.cells) {
      const auto at = loss_between(base.curves, curve.parameters, cell.tokens);
      if (!at) continue;
      LossDifference difference{curve.model,
                                curve.parameters,
                                cell.tokens,
                                cell.mean(),
                                at->loss()};
      const BetweenLosses ratio = log_ratio(cell, *at);
      if (const auto half = noise.half_width(ratio)) {
        const double log = ratio.log();
        difference.range = {difference.base_loss * std::expm1(log - *half),
                            difference.base_loss * std::expm1(log + *half)};
      }
      add_laws(base, other, difference);
      comparison.cells.push_back(std::move(difference));
      all.parts.insert(all.parts.end(), ratio.parts.begin(), ratio.parts.end());
    }
  }
  if (comparison.cells.empty()) return;
  for (auto& [cell, weight] : all.parts) {
    weight /= static_cast<double>(comparison.cells.size());
  }
  comparison.mean = all.log();
  if (const auto half = noise.half_width(all)) {
    comparison.mean_range = {*comparison.mean - *half,
                             *comparison.mean + *half};
  }
}

/// From the fewest to the most FLOPs of a run.
Range flops_range(const std::vector<LossCurve>& curves) {
  Range range{std::numeric_limits<double>::infinity(), 0};
  for (const LossCurve& curve : curves) {
    for (const LossCell& cell : curve.cells) {
      const double flops = cell.tokens * curve.flops_per_token;
      range.low = std::min(range.low, flops);
      range.high = std::max(range.high, flops);
    }
  }
  return range;
}

void add_multipliers(const FormLosses& base,
                     const FormLosses& other,
                     FormComparison& comparison) {
  if (!base.law.fit.law || !other.law.fit.law) return;
  const Range a = flops_range(base.curves), b = flops_range(other.curves);
  const double low = std::max(a.low, b.low), high = std::min(a.high, b.high);
  if (!(low < high)) return;
  for (const double flops : {low, std::sqrt(low * high), high}) {
    const auto times = [&](const LossLaw& of_base, const LossLaw& of_other) {
      const double loss = optimum(of_other, flops, other.factor.value).loss;
      return flops_for(of_base, loss, base.factor.value) / flops;
    };
    comparison.multipliers.push_back(
        {flops,
         times(*base.law.fit.law, *other.law.fit.law),
         paired_range(base.law, other.law, times)});
  }
}

}  // namespace

FormComparison compare(const FormLosses& base,
                       const FormLosses& other,
                       const SeedNoise& noise) {
  FormComparison comparison{base.form, other.form};
  add_cells(base, other, noise, comparison);
  add_multipliers(base, other, comparison);
  return comparison;
}

}  // namespace mumoe::study
