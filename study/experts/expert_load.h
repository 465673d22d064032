#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "study/experts/exact_sums.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// How a gate uses its experts over many tokens.
struct GateLoad {
  Gate gate;
  std::int64_t tokens = 0;
  std::int64_t samples = 0;
  /// Of each expert: tokens with a_n > 0; with a_n ≥ the threshold; samples
  /// that have such a token (Appendix, "expert load", counts images so);
  std::vector<std::int64_t> active, chosen, chosen_samples;
  /// the mean of a_n over all tokens.
  std::vector<double> mean = {};
  /// Mean over tokens of −Σ a ln a, nats: what one token is spread over.
  double token_entropy = 0;

  /// Experts that no token gave a coefficient above 0; above the threshold.
  std::int64_t dead() const;
  std::int64_t never_chosen() const;
  /// Mean share of experts that a token mixes.
  double active_share() const;
  /// −Σ ā ln ā of the mean coefficients, nats, and its exponential: of how many
  /// experts, used evenly, that would be the entropy.
  double load_entropy() const;
  double effective_experts() const;
};

/// Adds up how the gates of a model use their experts. The same figures,
/// to the last bit, over any number of ranks.
class ExpertLoad {
 public:
  /// `threshold`: in (0, 1]; 0.5 in the paper.
  ExpertLoad(std::span<const Gate> gates, double threshold);

  void add(const RoutedBatch& batch);
  /// The loads of what all ranks have seen; `tells`: whether what this one has
  /// counts. Collective over `world`; once.
  std::vector<GateLoad> finish(dist::Communicator& world, bool tells);

 private:
  void add(std::size_t gate, const at::Tensor& a_TN, std::int64_t samples);

  double threshold_;
  std::vector<GateLoad> loads_;
  std::vector<ExactSums> sums_;  ///< Of each gate: a_n, then the entropy.
};

}  // namespace mumoe::study
