#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/config.h"

namespace mumoe::model {

/// Stochastic depth (Huang et al., arXiv 1603.09382) of a model whose blocks
/// have two sublayers each: what a sublayer gives the stream is nothing for
/// some samples of a batch, and more for the others. In block l of L that is
/// so for a share `ModelConfig::stochastic_depth` · l / (L − 1) of them.
class StochasticDepth {
 public:
  /// Never.
  StochasticDepth() = default;
  /// Of the samples `ids` (int64 [B]; undefined: never).
  StochasticDepth(const ModelConfig& config, const at::Tensor& ids);

  /// What sublayer `index` of the model gives, of its y [B · rows, C].
  at::Tensor of(std::int64_t index, const at::Tensor& y) const;

 private:
  at::Tensor factor_SB_;  ///< Of each sublayer.
};

}  // namespace mumoe::model
