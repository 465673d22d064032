#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "study/loss/loss_law.h"

namespace mumoe::study {

/// Hoffmann et al.'s own law (2022, equation 10).
inline const LossLaw kHoffmann = {1.69, 406.4, 0.34, 410.7, 0.28};

struct SyntheticLosses {
  LossLaw law = kHoffmann;
  std::string form = "dense";
  std::vector<double> sizes = {1e8, 2e8, 4e8, 8e8, 1.6e9};
  std::vector<double> tokens = {2e9, 4e9, 8e9, 16e9};
  int seeds = 1;
  double noise = 0;  ///< Deviation of log(loss).
  std::uint64_t random = 1;
  double factor = 6;  ///< FLOPs a token and parameter.
};

/// What runs of a known law come to.
inline std::vector<LossPoint> synthetic_losses(const SyntheticLosses& what) {
  std::vector<LossPoint> points;
  const CounterRandom random(what.random, Purpose::test);
  for (const double size : what.sizes) {
    for (const double tokens : what.tokens) {
      for (int seed = 0; seed < what.seeds; ++seed) {
        LossPoint point;
        point.model = fmt::format("{}-{:.0f}", what.form, size / 1e6);
        point.form = what.form;
        point.parameters = size;
        point.tokens = tokens;
        point.flops_per_token = what.factor * size;
        point.seed = seed;
        point.loss = what.law.at(size, tokens) *
                     std::exp(what.noise * random.normal(points.size()));
        points.push_back(point);
      }
    }
  }
  return points;
}

}  // namespace mumoe::study
