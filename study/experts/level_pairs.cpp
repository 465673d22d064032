#include "study/experts/level_pairs.h"

#include <ATen/ATen.h>

namespace mumoe::study {

LevelPairs::LevelPairs(std::span<const Gate> gates) {
  for (std::size_t g = 0; g + 1 < gates.size(); ++g) {
    if (gates[g].mixture != gates[g + 1].mixture) continue;
    const LevelPair& pair = pairs_.emplace_back(
        LevelPair{g, g + 1, gates[g].experts, gates[g + 1].experts});
    sums_.emplace_back(
        static_cast<std::size_t>(pair.upper_experts * pair.lower_experts));
  }
  tokens_.resize(pairs_.size());
}

void LevelPairs::add(const RoutedBatch& batch) {
  for (std::size_t p = 0; p < pairs_.size(); ++p) {
    const LevelPair& pair = pairs_[p];
    const at::Tensor upper =
        batch.coefficients[pair.upper].to(at::kDouble).contiguous();
    const at::Tensor lower =
        batch.coefficients[pair.lower].to(at::kDouble).contiguous();
    const double* a = upper.const_data_ptr<double>();
    const double* b = lower.const_data_ptr<double>();
    for (std::int64_t t = 0; t < upper.size(0); ++t) {
      for (std::int64_t n = 0; n < pair.upper_experts; ++n) {
        if (!(a[n] > 0)) continue;
        for (std::int64_t m = 0; m < pair.lower_experts; ++m) {
          if (!(b[m] > 0)) continue;
          sums_[p].add(static_cast<std::size_t>(n * pair.lower_experts + m),
                       a[n] * b[m]);
        }
      }
      a += pair.upper_experts;
      b += pair.lower_experts;
    }
    tokens_[p] += upper.size(0);
  }
}

std::vector<LevelPair> LevelPairs::finish(dist::Communicator& world,
                                          bool tells) {
  for (std::size_t p = 0; p < pairs_.size(); ++p) {
    if (!tells) {
      sums_[p] = ExactSums(sums_[p].size());
      tokens_[p] = 0;
    }
    sums_[p].merge(world);
  }
  merge_counts(world, tokens_);
  for (std::size_t p = 0; p < pairs_.size(); ++p) {
    for (std::size_t i = 0; i < sums_[p].size(); ++i) {
      pairs_[p].mean.push_back(sums_[p].of(i) /
                               static_cast<double>(tokens_[p]));
    }
  }
  return pairs_;
}

}  // namespace mumoe::study
