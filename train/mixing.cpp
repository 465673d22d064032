#include "train/mixing.h"

#include <fmt/format.h>

namespace mumoe::train {

std::optional<MixingSummary> last_mixing(const model::Model& model) {
  MixingSummary sum;
  for (const MuMoEBlock* block : model.mixtures()) {
    ++sum.blocks;
    sum.sparse_blocks += block->last_mixing().sparse;
    sum.active += block->last_mixing().active;
    sum.coefficients += block->last_mixing().coefficients;
  }
  if (sum.blocks == 0) return std::nullopt;
  sum.active /= static_cast<double>(sum.blocks);
  return sum;
}

std::string describe_sparse_mixing(const MixingSummary& mixing, double active) {
  return fmt::format("experts are mixed sparsely{} ({:.1f} % active)",
                     mixing.sparse_blocks == mixing.blocks
                         ? ""
                         : fmt::format(" in {} of {} blocks",
                                       mixing.sparse_blocks,
                                       mixing.blocks),
                     100 * active);
}

}  // namespace mumoe::train
