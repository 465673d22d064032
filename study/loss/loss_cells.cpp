#include "study/loss/loss_cells.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace mumoe::study {
namespace {

constexpr double kOne = 0.01;  // numbers closer than this are one

bool close(double a, double b, double share) {
  return std::abs(std::log(a / b)) <= std::log1p(share);
}

/// Where `at` lies between two of `places`, which rise: the one at or before
/// it, and the weight of the one after it. A place that is close enough is
/// taken as it is.
struct Between {
  std::size_t before = 0;
  double share = 0;
};
std::optional<Between> between(const std::vector<double>& places, double at) {
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (close(places[i], at, kOne)) return Between{i, 0};
  }
  if (places.empty()) return {};
  const std::size_t last = places.size() - 1;
  if (at < places[0] || at > places[last]) {
    const std::size_t end = at < places[0] ? 0 : last;
    if (!close(places[end], at, kSame)) return {};
    return Between{end, 0};
  }
  std::size_t before = 0;
  while (places[before + 1] < at) ++before;
  return Between{before,
                 std::log(at / places[before]) /
                     std::log(places[before + 1] / places[before])};
}

void add(BetweenLosses& sum, const BetweenLosses& other, double weight) {
  for (const auto& [cell, share] : other.parts) {
    sum.parts.emplace_back(cell, weight * share);
  }
}

/// The curve of the point's model, made if there is none.
LossCurve& curve_of(std::vector<LossCurve>& curves, const LossPoint& point) {
  for (LossCurve& curve : curves) {
    if (curve.model != point.model) continue;
    require(curve.form == point.form && curve.parameters == point.parameters,
            "model {}: {} of {} parameters, and {} of {}; expected one form "
            "and size",
            point.model,
            curve.form,
            curve.parameters,
            point.form,
            point.parameters);
    return curve;
  }
  return curves.emplace_back(LossCurve{point.model,
                                       point.form,
                                       point.parameters,
                                       point.flops_per_token});
}

}  // namespace

// Abramowitz and Stegun, 26.7.5, beyond the table.
double student_95(std::int64_t degrees) {
  static constexpr std::array kFirst = {6.314, 2.920, 2.353, 2.132, 2.015};
  if (degrees <= std::ssize(kFirst)) {
    return kFirst[static_cast<std::size_t>(degrees - 1)];
  }
  const double z = 1.6448536, n = static_cast<double>(degrees);
  const double cube = z * z * z;
  return z + (cube + z) / (4 * n) +
         (5 * cube * z * z + 16 * cube + 3 * z) / (96 * n * n);
}

std::size_t distinct(std::vector<double> values) {
  std::ranges::sort(values);
  std::size_t count = 0;
  double last = 0;
  for (const double value : values) {
    if (count > 0 && close(value, last, kOne)) continue;
    ++count;
    last = value;
  }
  return count;
}

double LossCell::mean() const {
  return std::accumulate(losses.begin(), losses.end(), 0.) /
         static_cast<double>(losses.size());
}

double LossCell::low() const {
  return std::ranges::min(losses);
}

double LossCell::high() const {
  return std::ranges::max(losses);
}

std::vector<LossCurve> loss_curves(std::span<const LossPoint> points) {
  std::vector<LossCurve> curves;
  for (const LossPoint& point : points) {
    auto& cells = curve_of(curves, point).cells;
    const auto found =
        std::ranges::find(cells, point.tokens, &LossCell::tokens);
    LossCell& cell = found == cells.end()
                         ? cells.emplace_back(LossCell{point.tokens})
                         : *found;
    cell.losses.push_back(point.loss);
  }
  for (LossCurve& curve : curves) {
    std::ranges::sort(curve.cells, {}, &LossCell::tokens);
  }
  std::ranges::stable_sort(curves, {}, &LossCurve::parameters);
  return curves;
}

double BetweenLosses::log() const {
  double sum = 0;
  for (const auto& [cell, weight] : parts) {
    sum += weight * std::log(cell->mean());
  }
  return sum;
}

double BetweenLosses::loss() const {
  return std::exp(log());
}

std::optional<BetweenLosses> loss_after(const LossCurve& curve, double tokens) {
  std::vector<double> places;
  for (const LossCell& cell : curve.cells) places.push_back(cell.tokens);
  const auto found = between(places, tokens);
  if (!found) return {};
  BetweenLosses sum;
  sum.parts.emplace_back(&curve.cells[found->before], 1 - found->share);
  if (found->share > 0) {
    sum.parts.emplace_back(&curve.cells[found->before + 1], found->share);
  }
  return sum;
}

std::optional<BetweenLosses> loss_between(std::span<const LossCurve> curves,
                                          double parameters,
                                          double tokens) {
  // Models that were not measured there may stand between others that were.
  std::vector<double> places;
  std::vector<BetweenLosses> losses;
  for (const LossCurve& curve : curves) {
    auto loss = loss_after(curve, tokens);
    if (!loss) continue;
    places.push_back(curve.parameters);
    losses.push_back(std::move(*loss));
  }
  const auto found = between(places, parameters);
  if (!found) return {};
  BetweenLosses sum;
  add(sum, losses[found->before], 1 - found->share);
  if (found->share > 0) add(sum, losses[found->before + 1], found->share);
  return sum;
}

std::optional<double> SeedNoise::half_width(const BetweenLosses& sum) const {
  if (degrees == 0) return {};
  // A cell may come up several times: its errors are one.
  double variance = 0;
  for (std::size_t i = 0; i < sum.parts.size(); ++i) {
    const auto& [cell, weight] = sum.parts[i];
    bool first = true;
    double all = 0;
    for (std::size_t j = 0; j < sum.parts.size(); ++j) {
      if (sum.parts[j].first != cell) continue;
      first = first && j >= i;
      all += sum.parts[j].second;
    }
    if (!first) continue;
    variance += all * all / static_cast<double>(cell->losses.size());
  }
  return student_95(degrees) * deviation * std::sqrt(variance);
}

SeedNoise seed_noise(std::span<const LossCurve> curves) {
  SeedNoise noise;
  double squares = 0;
  for (const LossCurve& curve : curves) {
    for (const LossCell& cell : curve.cells) {
      const double mean = cell.mean();
      for (const double loss : cell.losses) {
        squares += std::pow(std::log(loss / mean), 2);
      }
      noise.degrees += std::ssize(cell.losses) - 1;
    }
  }
  if (noise.degrees == 0) return noise;
  noise.deviation = std::sqrt(squares / static_cast<double>(noise.degrees));
  return noise;
}

FlopsFactor flops_factor(std::span<const LossCurve> curves) {
  double sum = 0;
  for (const LossCurve& curve : curves) {
    sum += std::log(curve.flops_per_token / curve.parameters);
  }
  FlopsFactor factor;
  factor.value = std::exp(sum / static_cast<double>(curves.size()));
  for (const LossCurve& curve : curves) {
    const double ratio =
        curve.flops_per_token / curve.parameters / factor.value;
    factor.off = std::max(factor.off, std::abs(ratio - 1));
  }
  return factor;
}

}  // namespace mumoe::study
