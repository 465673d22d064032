#include "model/residual.h"

#include <ATen/ATen.h>

#include <utility>

#include "mumoe/norm.h"

namespace mumoe::model {

Residual::Residual(at::Tensor x, at::ScalarType compute, double epsilon)
    : x_(std::move(x)),
      compute_(compute),
      epsilon_(epsilon),
      fused_(epsilon == kNormEpsilon && fuses_residual_norm(x_.device(),
                                                            x_.scalar_type(),
                                                            compute,
                                                            x_.size(-1))) {}

Residual::Residual(const std::vector<at::Tensor>& state,
                   at::ScalarType compute,
                   double epsilon)
    : Residual(state.at(0), compute, epsilon) {
  if (state.size() > 1) pending_ = state[1];
}

std::vector<at::Tensor> Residual::state() const {
  if (!pending_.defined()) return {x_};
  return {x_, pending_};
}

void Residual::add(const at::Tensor& y) {
  if (fused_) {
    pending_ = y;
  } else {
    x_ = x_ + y;
  }
}

at::Tensor Residual::normed(const at::Tensor& weight, const at::Tensor& bias) {
  if (!fused_) {
    return at::layer_norm(x_, {x_.size(-1)}, weight, bias, epsilon_)
        .to(compute_);
  }
  const Normed n =
      residual_norm(x_, pending_, weight, bias, compute_, /*rounded=*/false);
  x_ = n.sum;
  pending_.reset();
  return n.result;
}

at::Tensor Residual::through(const DenseMlp& mlp) {
  if (!fused_) return mlp.forward(x_);
  return mlp.forward_normed(normed(mlp.norm_weight(), mlp.norm_bias()));
}

at::Tensor Residual::through(const MuMoEBlock& block) {
  const InputNorm& norm = block.norm();
  if (!fused_ || !norm.weight.defined()) {
    if (pending_.defined()) x_ = x_ + std::exchange(pending_, at::Tensor());
    return block.forward(x_);
  }
  const bool rounds = compute_ != x_.scalar_type();
  const Normed n = residual_norm(x_,
                                 std::exchange(pending_, at::Tensor()),
                                 norm.weight,
                                 norm.bias,
                                 compute_,
                                 rounds);
  x_ = n.sum;
  return block.forward_normed(rounds ? n.rounded : n.sum, n.result);
}

}  // namespace mumoe::model
