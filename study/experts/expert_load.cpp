#include "study/experts/expert_load.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace mumoe::study {
namespace {

/// −p ln p, whose limit at 0 is 0.
double surprise(double p) {
  return p > 0 ? -p * std::log(p) : 0;
}

}  // namespace

std::int64_t GateLoad::dead() const {
  return std::ranges::count(active, 0);
}

std::int64_t GateLoad::never_chosen() const {
  return std::ranges::count(chosen, 0);
}

double GateLoad::active_share() const {
  const auto sum =
      std::accumulate(active.begin(), active.end(), std::int64_t{0});
  return static_cast<double>(sum) /
         (static_cast<double>(tokens) * static_cast<double>(gate.experts));
}

double GateLoad::load_entropy() const {
  return std::transform_reduce(mean.begin(),
                               mean.end(),
                               0.0,
                               std::plus<>{},
                               surprise);
}

double GateLoad::effective_experts() const {
  return std::exp(load_entropy());
}

ExpertLoad::ExpertLoad(std::span<const Gate> gates, double threshold)
    : threshold_(threshold) {
  require(threshold > 0 && threshold <= 1,
          "--threshold {}: expected a coefficient above 0, at most 1",
          threshold);
  for (const Gate& gate : gates) {
    const auto n = static_cast<std::size_t>(gate.experts);
    const std::vector<std::int64_t> none(n);
    loads_.push_back(
        {.gate = gate, .active = none, .chosen = none, .chosen_samples = none});
    sums_.emplace_back(n + 1);
  }
}

void ExpertLoad::add(const RoutedBatch& batch) {
  for (std::size_t g = 0; g < loads_.size(); ++g) {
    add(g,
        batch.coefficients[g],
        static_cast<std::int64_t>(batch.samples.size()));
  }
}

void ExpertLoad::add(std::size_t g,
                     const at::Tensor& a_TN,
                     std::int64_t samples) {
  GateLoad& load = loads_[g];
  ExactSums& sums = sums_[g];
  const at::Tensor wide = a_TN.to(at::kDouble).contiguous();
  const double* a = wide.const_data_ptr<double>();
  const auto experts = static_cast<std::size_t>(load.gate.experts);
  const std::int64_t tokens = wide.size(0) / samples;
  std::vector<std::int64_t> last(experts, -1);
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    for (std::int64_t token = 0; token < tokens; ++token, a += experts) {
      double entropy = 0;
      for (std::size_t n = 0; n < experts; ++n) {
        if (!(a[n] > 0)) continue;
        load.active[n] += 1;
        sums.add(n, a[n]);
        entropy += surprise(a[n]);
        if (a[n] < threshold_) continue;
        load.chosen[n] += 1;
        load.chosen_samples[n] += last[n] != sample;
        last[n] = sample;
      }
      sums.add(experts, entropy);
    }
  }
  load.tokens += samples * tokens;
  load.samples += samples;
}

std::vector<GateLoad> ExpertLoad::finish(dist::Communicator& world,
                                         bool tells) {
  for (std::size_t g = 0; g < loads_.size(); ++g) {
    GateLoad& load = loads_[g];
    if (!tells) {
      sums_[g] = ExactSums(sums_[g].size());
      load.tokens = load.samples = 0;
      for (auto* counts : {&load.active, &load.chosen, &load.chosen_samples}) {
        std::ranges::fill(*counts, 0);
      }
    }
    std::vector<std::int64_t> seen{load.tokens, load.samples};
    merge_counts(world, seen);
    load.tokens = seen[0];
    load.samples = seen[1];
    for (auto* counts : {&load.active, &load.chosen, &load.chosen_samples}) {
      merge_counts(world, *counts);
    }
    sums_[g].merge(world);
    const double tokens = static_cast<double>(load.tokens);
    const auto experts = static_cast<std::size_t>(load.gate.experts);
    for (std::size_t n = 0; n < experts; ++n) {
      load.mean.push_back(sums_[g].of(n) / tokens);
    }
    load.token_entropy = sums_[g].of(experts) / tokens;
  }
  return loads_;
}

}  // namespace mumoe::study
