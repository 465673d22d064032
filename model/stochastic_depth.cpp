// Shapes: B samples, S sublayers.
#include "model/stochastic_depth.h"

#include <ATen/ATen.h>

#include "base/purposes.h"
#include "model/sample_uniforms.h"

namespace mumoe::model {

using at::Tensor;

StochasticDepth::StochasticDepth(const ModelConfig& config, const Tensor& ids) {
  const auto blocks = config.depth;
  if (!ids.defined() || config.stochastic_depth == 0 || blocks == 1) return;
  const Tensor uniform_SB =
      sample_uniforms(config.seed, kStochasticDepth, 2 * blocks, ids);
  const Tensor block_S1 =
      at::arange(2 * blocks, ids.options()).bitwise_right_shift(1).unsqueeze(1);
  const Tensor skipped_S1 =
      block_S1.to(at::kDouble) *
      (config.stochastic_depth / static_cast<double>(blocks - 1));
  factor_SB_ = (uniform_SB >= skipped_S1).to(at::kDouble) / (1 - skipped_S1);
}

Tensor StochasticDepth::of(std::int64_t index, const Tensor& y) const {
  if (!factor_SB_.defined()) return y;
  const auto type = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor factor_B1 = factor_SB_[index].to(type).unsqueeze(1);
  return (y.reshape({factor_B1.size(0), -1}) * factor_B1)
      .to(y.scalar_type())
      .view(y.sizes());
}

}  // namespace mumoe::model
