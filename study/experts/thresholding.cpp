#include "study/experts/thresholding.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/random.h"

namespace mumoe::study {
namespace {

// Apart from those of bootstraps, whose draws are small numbers.
constexpr std::uint64_t kHalves = hash_name("halves of a validation set");
constexpr std::uint64_t kExperts = hash_name("permuted experts");

double product(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

}  // namespace

Shift expert_shift(const Coefficients& coefficients,
                   std::vector<double> mean,
                   double lambda) {
  return [&coefficients, mean = std::move(mean), lambda](std::size_t sample) {
    return lambda * product(mean, coefficients.of(sample));
  };
}

Shift blind_shift(const Coefficients& coefficients, double lambda) {
  const double shift =
      lambda * product(coefficients.subpopulation, coefficients.everyone);
  return [shift](std::size_t) { return shift; };
}

std::vector<double> permuted(std::span<const double> mean, std::uint64_t draw) {
  std::vector<double> all(mean.begin(), mean.end());
  const CounterRandom random(draw, Purpose::measurement, kExperts);
  for (std::size_t i = all.size(); i > 1; --i) {
    std::swap(all[i - 1], all[random.below(i, i)]);
  }
  return all;
}

std::vector<double> usual_lambdas(std::int64_t experts) {
  std::vector<double> lambdas{0};
  for (int half = -8; half <= 12; ++half) {
    const double size = std::exp2(0.5 * half) * static_cast<double>(experts);
    lambdas.push_back(size);
    lambdas.push_back(-size);
  }
  return lambdas;
}

Halves halves_of(std::size_t samples, std::uint64_t seed) {
  const CounterRandom random(seed, Purpose::measurement, kHalves);
  Halves halves;
  for (std::size_t i = 0; i < samples; ++i) {
    (random.below(i, 2) == 0 ? halves.choosing : halves.telling).push_back(i);
  }
  return halves;
}

}  // namespace mumoe::study
