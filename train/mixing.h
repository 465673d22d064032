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
  double active = 0;               ///< Mean share of active experts.
};

/// Of the last forward pass; nothing in a dense model.
std::optional<MixingSummary> last_mixing(const model::Model& model);

/// "experts are mixed sparsely in 3 of 12 blocks (9.1 % active)"; `active` is
/// the mean share over all ranks.
std::string describe_sparse_mixing(const MixingSummary& mixing, double active);

}  // namespace mumoe::train
