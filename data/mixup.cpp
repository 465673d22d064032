#include "data/mixup.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/purposes.h"

namespace mumoe::data {
namespace {

/// ln of a number from Gamma(shape), drawn from numbers 3k, 3k + 1, 3k + 2 of
/// `random`: k = 0 raises the shape by one (so that small ones do not vanish),
/// the others are tries (Marsaglia and Tsang, "A simple method for generating
/// gamma variables", 2000).
double log_gamma_variate(const CounterRandom& random, double shape) {
  const double d = shape + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (std::uint64_t k = 1;; ++k) {
    const double x = random.normal(3 * k), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    // Uniform numbers may be 0, but not 1.
    const double u = 1 - random.uniform(3 * k + 1);
    if (std::log(u) < x * x / 2 + d * (1 - v + std::log(v))) {
      return std::log(d * v) + std::log(1 - random.uniform(0)) / shape;
    }
  }
}

/// Where each of `wanted` is in `sorted`.
std::size_t place_of(const std::vector<std::uint64_t>& sorted,
                     std::uint64_t wanted) {
  return static_cast<std::size_t>(std::ranges::lower_bound(sorted, wanted) -
                                  sorted.begin());
}

}  // namespace

MixUp::MixUp(const Samples& samples,
             const SampleOrder& order,
             std::int64_t classes,
             double alpha,
             std::uint64_t seed)
    : sequence_(samples, order), classes_(classes), alpha_(alpha), seed_(seed) {
  require(alpha > 0 && std::isfinite(alpha),
          "data.mixup = {}: expected 0 (none) or more",
          alpha);
}

double MixUp::weight(std::uint64_t pair) const {
  const double first =
      log_gamma_variate(CounterRandom(seed_, kMixUpPurpose, 2 * pair), alpha_);
  const double second =
      log_gamma_variate(CounterRandom(seed_, kMixUpPurpose, 2 * pair + 1),
                        alpha_);
  return 1 / (1 + std::exp(second - first));
}

HostBatch MixUp::make(std::span<const std::uint64_t> numbers) const {
  std::vector<std::uint64_t> needed;
  for (const std::uint64_t number : numbers) {
    needed.push_back(number);
    needed.push_back(number ^ 1);
  }
  std::ranges::sort(needed);
  needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
  const HostBatch made = sequence_.make(needed);
  const auto* const input = std::get_if<std::vector<float>>(&made.input);
  const auto* const labels =
      std::get_if<std::vector<std::int32_t>>(&made.target);
  require(
      input != nullptr && labels != nullptr && labels->size() == needed.size(),
      "data.mixup = {}: blends images that have a label each; expected 0 "
      "for other samples",
      alpha_);
  const std::size_t width = input->size() / needed.size();
  std::vector<float> mixed(numbers.size() * width);
  std::vector<float> targets(numbers.size() * classes_);
  HostBatch batch;
  batch.samples = static_cast<std::int64_t>(numbers.size());
  for (std::size_t row = 0; row < numbers.size(); ++row) {
    const std::size_t own = place_of(needed, numbers[row]);
    const std::size_t other = place_of(needed, numbers[row] ^ 1);
    const auto share = static_cast<float>(weight(numbers[row] / 2));
    for (std::size_t i = 0; i < width; ++i) {
      mixed[row * width + i] = share * (*input)[own * width + i] +
                               (1 - share) * (*input)[other * width + i];
    }
    for (const auto& [place, part] :
         {std::pair(own, share), std::pair(other, 1 - share)}) {
      const std::int64_t label = (*labels)[place];
      MUMOE_CHECK(label >= 0 && label < classes_, "a label has a class");
      targets[row * classes_ + label] += part;
    }
    batch.numbers.push_back(numbers[row]);
    batch.indices.push_back(made.indices[own]);
  }
  batch.input = std::move(mixed);
  batch.target = std::move(targets);
  return batch;
}

}  // namespace mumoe::data
