#pragma once

#include <cstdint>

#include "data/sequence.h"

namespace mumoe::data {

/// Samples of a run blended by pairs (Zhang et al., "mixup: Beyond Empirical
/// Risk Minimization", ICLR 2018): number g with its neighbour g ^ 1,
///   x = λ x_g + (1 − λ) x_{g^1},   the same of their labels as one-hot rows.
/// λ ~ Beta(alpha, alpha) is a function of (seed, pair), the same for both.
/// A batch makes each of its samples and of their partners once.
class MixUp final : public Sequence {
 public:
  /// `samples` have inputs that are no whole numbers, and one label each, below
  /// `classes`. Throws `InputError` unless `alpha` > 0, and from `make` where
  /// they have something else.
  MixUp(const Samples& samples,
        const SampleOrder& order,
        std::int64_t classes,
        double alpha,
        std::uint64_t seed);

  const SampleOrder& order() const override { return sequence_.order(); }
  /// Targets are float rows of `classes`.
  HostBatch make(std::span<const std::uint64_t> numbers) const override;
  /// λ of the samples 2 · pair and 2 · pair + 1.
  double weight(std::uint64_t pair) const;

 private:
  OrderedSamples sequence_;
  std::int64_t classes_;
  double alpha_;
  std::uint64_t seed_;
};

}  // namespace mumoe::data
