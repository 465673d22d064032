#include "study/loss/iso_flops.h"

#include <algorithm>
#include <cmath>

namespace mumoe::study {
namespace {

constexpr std::size_t kBudgets = 4;
constexpr int kCurvePoints = 41;
constexpr double kBeyond = 2;  // how far curves go beyond measured sizes

std::vector<IsoMeasured> measured_at(std::span<const LossCurve> curves,
                                     double flops) {
  std::vector<IsoMeasured> all;
  for (const LossCurve& curve : curves) {
    const auto loss = loss_after(curve, flops / curve.flops_per_token);
    if (loss) all.push_back({curve.model, curve.parameters, loss->loss()});
  }
  return all;
}

std::size_t sizes_of(const std::vector<IsoMeasured>& measured) {
  std::vector<double> sizes;
  for (const IsoMeasured& each : measured) sizes.push_back(each.parameters);
  return distinct(std::move(sizes));
}

/// Through sizes of which three differ; numbered about their middle, so that
/// sums of odd powers are small.
Parabola parabola_of(const std::vector<IsoMeasured>& measured) {
  Parabola parabola;
  double logs = 0;
  for (const IsoMeasured& each : measured) logs += std::log(each.parameters);
  parabola.middle = std::exp(logs / static_cast<double>(measured.size()));
  // Over polynomials that are orthogonal on these sizes: 1, x, x² - p x - q.
  double n = 0, x2 = 0, x3 = 0, sum = 0, slope = 0;
  for (const IsoMeasured& each : measured) {
    const double x = std::log(each.parameters / parabola.middle);
    n += 1;
    x2 += x * x;
    x3 += x * x * x;
    sum += each.loss;
    slope += x * each.loss;
  }
  const double p = x3 / x2, q = x2 / n;
  double norm = 0, curve = 0;
  for (const IsoMeasured& each : measured) {
    const double x = std::log(each.parameters / parabola.middle);
    const double value = x * x - p * x - q;
    norm += value * value;
    curve += value * each.loss;
  }
  parabola.curve = curve / norm;
  parabola.slope = slope / x2 - parabola.curve * p;
  parabola.constant = sum / n - parabola.curve * q;
  return parabola;
}

std::vector<IsoPoint> curve_of(const DrawnLaw& law,
                               double factor,
                               double flops,
                               double low,
                               double high) {
  std::vector<IsoPoint> curve;
  for (int i = 0; i < kCurvePoints; ++i) {
    const double size = low * std::pow(high / low, i / (kCurvePoints - 1.));
    const double tokens = flops / (factor * size);
    const auto at = [&](const LossLaw& each) { return each.at(size, tokens); };
    curve.push_back({size, at(*law.fit.law), law.range(at)});
  }
  return curve;
}

void add_law(std::span<const LossCurve> curves,
             const DrawnLaw& law,
             double factor,
             IsoFlop& iso) {
  const auto best = [&](const LossLaw& each) {
    return optimum(each, iso.flops, factor);
  };
  iso.best = best(*law.fit.law);
  iso.sizes = law.range([&](auto& each) { return best(each).parameters; });
  iso.tokens = law.range([&](auto& each) { return best(each).tokens; });
  const double smallest = curves.front().parameters;
  const double largest = curves.back().parameters;
  iso.measured_size =
      iso.best->parameters >= smallest && iso.best->parameters <= largest;
  iso.curve =
      curve_of(law, factor, iso.flops, smallest / kBeyond, largest * kBeyond);
}

}  // namespace

double Parabola::at(double parameters) const {
  const double x = std::log(parameters / middle);
  return constant + x * (slope + x * curve);
}

std::optional<double> Parabola::least() const {
  if (!(curve > 0)) return {};
  return middle * std::exp(-slope / (2 * curve));
}

std::vector<double> budgets_of(std::span<const LossCurve> curves) {
  std::vector<double> ends, shared;
  for (const LossCurve& curve : curves) {
    for (const LossCell& cell : curve.cells) {
      ends.push_back(cell.tokens * curve.flops_per_token);
    }
  }
  if (ends.empty()) return {};
  std::ranges::sort(ends);
  for (const double flops : ends) {
    if (!shared.empty() && flops < (1 + kSame) * shared.back()) continue;
    if (sizes_of(measured_at(curves, flops)) >= 3) shared.push_back(flops);
  }
  std::vector<double> budgets;
  const std::size_t count = shared.empty() ? kBudgets : shared.size();
  for (std::size_t i = 0; i < std::min(count, kBudgets); ++i) {
    if (shared.size() > kBudgets) {
      budgets.push_back(shared[i * (shared.size() - 1) / (kBudgets - 1)]);
    } else if (!shared.empty()) {
      budgets.push_back(shared[i]);
    } else {
      const double part = static_cast<double>(i) / (kBudgets - 1);
      budgets.push_back(ends[0] * std::pow(ends.back() / ends[0], part));
    }
  }
  return budgets;
}

IsoFlop iso_flop(std::span<const LossCurve> curves,
                 const DrawnLaw& law,
                 const FlopsFactor& factor,
                 double flops) {
  IsoFlop iso{flops};
  iso.measured = measured_at(curves, flops);
  if (law.fit.law) add_law(curves, law, factor.value, iso);
  if (sizes_of(iso.measured) < 3) return iso;
  iso.parabola = parabola_of(iso.measured);
  const auto least = iso.parabola->least();
  if (least && *least >= iso.measured.front().parameters &&
      *least <= iso.measured.back().parameters) {
    iso.found = Optimum{*least,
                        flops / (factor.value * *least),
                        iso.parabola->at(*least)};
  }
  return iso;
}

}  // namespace mumoe::study
