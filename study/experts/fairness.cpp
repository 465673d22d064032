#include "study/experts/fairness.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"

namespace mumoe::study {
namespace {

constexpr std::size_t kSubgroups = 4;
constexpr int kDraws = 400;

constexpr std::array<FairnessFigure, kFairnessFigures> kFigures = {{
    {"opportunity", &Fairness::opportunity, false},
    {"deviation", &Fairness::deviation, false},
    {"worst", &Fairness::worst, true},
    {"subpopulation", &Fairness::subpopulation, true},
    {"accuracy", &Fairness::accuracy, true},
}};

/// Right decisions of each subgroup.
struct Counts {
  std::array<std::int64_t, kSubgroups> samples = {};
  std::array<std::int64_t, kSubgroups> right = {};

  double accuracy(std::size_t subgroup) const {
    return static_cast<double>(right[subgroup]) /
           static_cast<double>(samples[subgroup]);
  }
};

Fairness fairness_of(const Counts& counts, Subgroup subpopulation) {
  std::array<double, kSubgroups> each = {};
  std::int64_t all = 0, right = 0;
  for (std::size_t g = 0; g < kSubgroups; ++g) {
    each[g] = counts.accuracy(g);
    all += counts.samples[g];
    right += counts.right[g];
  }
  double mean = 0, squares = 0;
  for (const double a : each) mean += a / kSubgroups;
  for (const double a : each) squares += (a - mean) * (a - mean) / kSubgroups;
  Fairness fairness;
  // Where the target is true, a right decision is a true positive.
  fairness.opportunity = std::abs(each[Subgroup{true, true}.place()] -
                                  each[Subgroup{true, false}.place()]);
  fairness.deviation = std::sqrt(squares);
  fairness.worst = std::isfinite(mean)
                       ? *std::ranges::min_element(each)
                       : std::numeric_limits<double>::quiet_NaN();
  fairness.subpopulation = each[subpopulation.place()];
  fairness.accuracy = static_cast<double>(right) / static_cast<double>(all);
  return fairness;
}

/// Whether each decision is right, by sample of `judged`.
std::vector<std::uint8_t> right_of(const JudgedSamples& judged,
                                   std::span<const std::size_t> samples,
                                   const Shift& shift) {
  std::vector<std::uint8_t> right(judged.size());
  for (const std::size_t i : samples) {
    const bool said = judged.margin[i] + shift(i) > 0;
    right[i] = said == (judged.target[i] != 0);
  }
  return right;
}

}  // namespace

std::span<const FairnessFigure, kFairnessFigures> fairness_figures() {
  return kFigures;
}

Fairness fairness(const JudgedSamples& judged,
                  std::span<const std::size_t> samples,
                  Subgroup subpopulation,
                  const Shift& shift) {
  const auto right = right_of(judged, samples, shift);
  Counts counts;
  for (const std::size_t i : samples) {
    const std::size_t g = judged.subgroup(i);
    counts.samples[g] += 1;
    counts.right[g] += right[i];
  }
  return fairness_of(counts, subpopulation);
}

FairnessFound fairness_found(const JudgedSamples& judged,
                             std::span<const std::size_t> samples,
                             Subgroup subpopulation,
                             std::span<const Shift> shifts) {
  std::vector<std::vector<std::uint8_t>> right;
  for (const Shift& shift : shifts) {
    right.push_back(right_of(judged, samples, shift));
  }
  const auto mean_over_shifts = [&](std::span<const std::size_t> drawn) {
    Fairness mean;
    for (const auto& of_shift : right) {
      Counts counts;
      for (const std::size_t item : drawn) {
        const std::size_t i = samples[item];
        const std::size_t g = judged.subgroup(i);
        counts.samples[g] += 1;
        counts.right[g] += of_shift[i];
      }
      const Fairness one = fairness_of(counts, subpopulation);
      for (const FairnessFigure& figure : kFigures) {
        mean.*figure.value +=
            one.*figure.value / static_cast<double>(right.size());
      }
    }
    return mean;
  };
  std::vector<std::size_t> all(samples.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  FairnessFound found{mean_over_shifts(all)};
  // One set of draws for all figures.
  std::array<std::vector<double>, kFairnessFigures> drawn;
  bootstrap(
      samples.size(),
      [&](std::span<const std::size_t> items) {
        const Fairness one = mean_over_shifts(items);
        for (std::size_t f = 0; f < kFairnessFigures; ++f) {
          drawn[f].push_back(one.*kFigures[f].value);
        }
        return 0.0;
      },
      kDraws);
  for (std::size_t f = 0; f < kFairnessFigures; ++f) {
    found.intervals[f] = middle_of(drawn[f]);
  }
  return found;
}

double best_lambda(const JudgedSamples& judged,
                   std::span<const std::size_t> samples,
                   Subgroup subpopulation,
                   const Choice& choice,
                   std::span<const double> lambdas,
                   const std::function<Shift(double lambda)>& shifts) {
  const auto found_with = [&](double lambda) {
    return fairness(judged, samples, subpopulation, shifts(lambda));
  };
  const double least = found_with(0).accuracy - choice.cost;
  std::vector<double> order(lambdas.begin(), lambdas.end());
  std::ranges::stable_sort(order, {}, [](double l) { return std::abs(l); });
  double best = 0;
  double value = std::numeric_limits<double>::quiet_NaN();
  for (const double lambda : order) {
    const Fairness found = found_with(lambda);
    if (found.accuracy < least) continue;
    const double figure = found.*choice.by.value;
    const bool better = choice.by.more ? figure > value : figure < value;
    if (!better && std::isfinite(value)) continue;
    best = lambda;
    value = figure;
  }
  return best;
}

const FairnessFigure& fairness_figure(std::string_view name) {
  const auto found = std::ranges::find_if(
      kFigures,
      [&](const FairnessFigure& figure) { return name == figure.name; });
  if (found == kFigures.end()) {
    std::vector<std::string> names;
    for (const FairnessFigure& figure : kFigures)
      names.emplace_back(figure.name);
    fail<InputError>("--choose {}: expected one of {}",
                     name,
                     fmt::join(names, ", "));
  }
  return *found;
}

}  // namespace mumoe::study
