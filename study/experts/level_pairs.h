#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "study/experts/exact_sums.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// How two levels of a mixture go together: a tree, of which the experts of the
/// first are branches and those of the second hang on each of them.
struct LevelPair {
  std::size_t upper = 0;  ///< Places of both gates in `gates_of`.
  std::size_t lower = 0;
  std::int64_t upper_experts = 0;
  std::int64_t lower_experts = 0;
  /// Mean of a_upper[n] · a_lower[m] over all tokens, [upper, lower].
  std::vector<double> mean = {};
};

/// Adds up how neighbouring levels go together; the same figures over any
/// number of ranks.
class LevelPairs {
 public:
  explicit LevelPairs(std::span<const Gate> gates);

  void add(const RoutedBatch& batch);
  /// Empty without hierarchies. As `ExpertLoad::finish`. Collective; once.
  std::vector<LevelPair> finish(dist::Communicator& world, bool tells);

 private:
  std::vector<LevelPair> pairs_;
  std::vector<ExactSums> sums_;
  std::vector<std::int64_t> tokens_;
};

}  // namespace mumoe::study
