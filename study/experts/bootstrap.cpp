#include "study/experts/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"

namespace mumoe::study {
namespace {

constexpr std::size_t kFewest = 20;
constexpr double kOutside = 0.05;

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto before = static_cast<std::size_t>(at);
  if (before + 1 == sorted.size()) return sorted.back();
  const double part = at - static_cast<double>(before);
  return sorted[before] + part * (sorted[before + 1] - sorted[before]);
}

}  // namespace

std::optional<Interval> middle_of(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.size() < kFewest) return {};
  std::ranges::sort(values);
  return Interval{quantile(values, kOutside), quantile(values, 1 - kOutside)};
}

std::optional<Interval> bootstrap(std::size_t size,
                                  const FigureOf& of,
                                  int draws,
                                  std::uint64_t seed) {
  if (size == 0) return {};
  std::vector<double> figures;
  std::vector<std::size_t> items(size);
  for (int draw = 0; draw < draws; ++draw) {
    const CounterRandom random(seed,
                               Purpose::measurement,
                               static_cast<std::uint64_t>(draw));
    for (std::size_t i = 0; i < size; ++i) {
      items[i] = static_cast<std::size_t>(random.below(i, size));
    }
    figures.push_back(of(items));
  }
  return middle_of(std::move(figures));
}

std::optional<Interval> bootstrap_mean(std::span<const double> values) {
  if (values.size() < 2) return {};
  return bootstrap(values.size(), [&](std::span<const std::size_t> items) {
    double sum = 0;
    for (const std::size_t item : items) sum += values[item];
    return sum / static_cast<double>(items.size());
  });
}

double mean_of(std::span<const double> values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

}  // namespace mumoe::study
