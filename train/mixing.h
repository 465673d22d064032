#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/model.h"

namespace mumoe::train {

/// How the blocks of a model mixed their experts.
struct MixingSummary {
  std::int64_t blocks = 0;         ///< With experts.
  std::int64_t sparse_blocks = 0;  ///< Of these, that mixed sparsely.
  /// Mean share of active experts; 1 on a GPU (`MixingReport::counter`).
  double active = 0;
  std::int64_t coefficients = 0;  ///< Of all blocks.
};

/// Of the last forward pass; nothing in a dense model.
std::optional<MixingSummary> last_mixing(const model::Model& model);

/// "experts are mixed sparsely in 3 of 12 blocks (9.1 % active)"; `active` is
/// the mean share over all ranks.
std::string describe_sparse_mixing(const MixingSummary& mixing, double active);

}  // namespace mumoe::train
