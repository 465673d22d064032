#include "study/predict/likely_scales.h"

#include <cmath>

#include "study/predict/local_correction.h"

namespace mumoe::study {
namespace {

// Of the logarithms of scales over the first ones.
constexpr double kDeviation = 0.7;
constexpr double kStep = 0.5;
constexpr int kSweeps = 3;

std::vector<double> scaled(const std::vector<double>& first,
                           const std::vector<double>& logs) {
  std::vector<double> scales;
  for (std::size_t i = 0; i < first.size(); ++i) {
    scales.push_back(first[i] * std::exp(logs[i]));
  }
  return scales;
}

}  // namespace

std::vector<double> likely_scales(
    const std::vector<std::vector<double>>& places,
    const std::vector<double>& left,
    const std::vector<double>& first) {
  std::vector<double> logs(first.size(), 0);
  const auto objective = [&] {
    double sum = LocalCorrection(places, left, scaled(first, logs)).objective();
    for (const double log : logs) {
      sum += log * log / (2 * kDeviation * kDeviation);
    }
    return sum;
  };
  double best = objective();
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    const double before = best;
    for (double& log : logs) {
      for (const double by : {kStep, -kStep}) {
        const double kept = log;
        log += by;
        const double found = objective();
        if (found < best) {
          best = found;
        } else {
          log = kept;
        }
      }
    }
    if (best == before) break;
  }
  return scaled(first, logs);
}

}  // namespace mumoe::study
