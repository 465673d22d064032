#include "model/dense_mlp.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>
#include <vector>

#include "mumoe/gelu.h"

namespace mumoe::model {

using dist::Initializer;

namespace {

at::Tensor gelu_of(Gelu kind, const at::Tensor& x) {
  if (kind == Gelu::exact) return mumoe::gelu(x);
  if (kind == Gelu::tanh) return at::gelu(x, "tanh");
  // As SiLU, whose node keeps one tensor.
  constexpr double kSlope = 1.702;
  return at::silu(x * kSlope) / kSlope;
}

}  // namespace

DenseMlpKind DenseMlpKind::gpt2(std::int64_t depth) {
  const double layers = 2 * static_cast<double>(depth);
  return {.first = Initializer::normal(0, 0.02),
          .last = Initializer::normal(0, 0.02 / std::sqrt(layers))};
}

DenseMlpKind DenseMlpKind::uniform(std::int64_t width, std::int64_t hidden) {
  const auto of = [](std::int64_t inputs) {
    return Initializer::uniform(1 / std::sqrt(static_cast<double>(inputs)));
  };
  return {.first = of(width),
          .last = of(hidden),
          .first_bias = of(width),
          .last_bias = of(hidden),
          .norm = false};
}

DenseMlp::DenseMlp(std::int64_t width,
                   std::int64_t hidden,
                   const DenseMlpKind& kind,
                   bool bias,
                   const std::string& prefix,
                   dist::ParameterRegistry& registry,
                   GemmLibrary gemm,
                   const dist::TensorParallel& tp)
    : hidden_(hidden), gelu_(kind.gelu), gemm_(gemm), tp_(tp) {
  using dist::Placement;
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape,
                       Initializer init,
                       Placement placement = {}) {
    const bool is_matrix = shape.size() == 2;
    return registry.add({.name = prefix + name,
                         .global_shape = std::move(shape),
                         .placement = placement,
                         .decay = is_matrix,
                         .init = init,
                         .full_precision = name.starts_with("ln.")});
  };
  const auto cut = [&](int dim) {
    return kind.whole ? Placement{} : Placement::cut(dim);
  };
  if (kind.norm) {
    norm_weight_ = add("ln.weight", {width}, Initializer::constant(1));
    if (bias) norm_bias_ = add("ln.bias", {width}, Initializer::constant(0));
  }
  fc_ = add("fc", {hidden, width}, kind.first, cut(0));
  if (bias) {
    fc_bias_ = add("fc_bias", {hidden}, kind.first_bias, cut(0));
  }
  proj_ = add("proj", {width, hidden}, kind.last, cut(1));
  if (bias) proj_bias_ = add("proj_bias", {width}, kind.last_bias);
}

at::Tensor DenseMlp::forward(const at::Tensor& x) const {
  return forward_normed(
      at::layer_norm(x, {x.size(-1)}, norm_weight_, norm_bias_)
          .to(fc_.scalar_type()));
}

at::Tensor DenseMlp::forward_normed(const at::Tensor& normed) const {
  const at::Tensor z = tp_.enter(normed);
  const at::Tensor pre = mumoe::linear(z, fc_, fc_bias_, gemm_);
  const at::Tensor hidden = gelu_of(gelu_, pre);
  if (watcher_) watcher_(hidden.detach());
  const at::Tensor y = tp_.leave(mumoe::linear(hidden, proj_, {}, gemm_));
  return proj_bias_.defined() ? y + proj_bias_ : y;
}

PassCost DenseMlp::cost(std::int64_t tokens, double input) const {
  const auto n = static_cast<double>(tokens);
  const auto width = static_cast<double>(fc_.size(1));
  const auto here = static_cast<double>(fc_.size(0));
  const auto element = static_cast<double>(fc_.element_size());
  const auto rows = static_cast<double>(tp_.rows(tokens).count);
  return {
      .flops = 12 * n * width * static_cast<double>(hidden_),
      .rank_flops = 12 * n * width * here,
      .tp_bytes = tp_.exchanged(n * width * element),
      .tp_operations = tp_.exchanges(),
      // x and the statistics of its norm; z; GELU's input and output
      .kept_bytes = (norm_weight_.defined() ? rows * (width + 2) : 0) * input +
                    n * (width + 2 * here) * element};
}

}  // namespace mumoe::model
