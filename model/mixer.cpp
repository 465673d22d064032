// Shapes: B samples (of this rank), P patches, C width, T = B P rows, K
// classes.
#include "model/mixer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "model/classification.h"
#include "model/mixer_config.h"
#include "model/patches.h"
#include "model/residual.h"

namespace mumoe::model {

using at::Tensor;
using dist::Initializer;

namespace {

Tensor mixed(const DenseMlp& mlp, const Tensor& z) {
  return mlp.forward_normed(z);
}
Tensor mixed(const MuMoEBlock& block, const Tensor& z) {
  return block.forward(z);
}

}  // namespace

Mixer::Mixer(const ModelConfig& config,
             dist::ParameterRegistry& registry,
             const Sharding& sharding,
             dist::Communicator* batch_group)
    : config_(config),
      registry_(registry),
      tp_(sharding.region()),
      batch_group_(batch_group) {
  validate_mixer(config_);
  const auto linear = [&](const std::string& name,
                          std::int64_t outputs,
                          std::int64_t inputs,
                          Tensor& weight,
                          Tensor& bias) {
    const auto start =
        Initializer::uniform(1 / std::sqrt(static_cast<double>(inputs)));
    weight = registry.add({.name = name + ".weight",
                           .global_shape = {outputs, inputs},
                           .placement = {},
                           .init = start});
    if (!config_.bias) return;
    bias = registry.add({.name = name + ".bias",
                         .global_shape = {outputs},
                         .placement = {},
                         .decay = false,
                         .init = start});
  };
  linear("stem",
         config_.width,
         config_.channels * config_.patch * config_.patch,
         stem_,
         stem_bias_);
  for (std::int64_t l = 0; l < config_.depth; ++l) {
    layers_.push_back(add_layer(l, sharding));
  }
  norm_ = add_norm("norm");
  linear("head", config_.classes, config_.width, head_, head_bias_);
  for (Layer& layer : layers_) {
    for (Mlp* mlp : {&layer.token, &layer.channel}) {
      if (auto* block = std::get_if<MuMoEBlock>(mlp)) blocks_.push_back(block);
    }
  }
  mixtures_.assign(blocks_.begin(), blocks_.end());
}

Mixer::Norm Mixer::add_norm(const std::string& name) {
  const auto add = [&](const char* part, double value) {
    return registry_.add({.name = name + part,
                          .global_shape = {config_.width},
                          .placement = {},
                          .decay = false,
                          .init = Initializer::constant(value),
                          .full_precision = true});
  };
  Norm norm{.weight = add(".weight", 1), .bias = {}};
  if (config_.bias) norm.bias = add(".bias", 0);
  return norm;
}

Mixer::Layer Mixer::add_layer(std::int64_t index, const Sharding& sharding) {
  const std::string prefix = fmt::format("h.{}.", index);
  const std::size_t first = registry_.parameters().size();
  const auto add_mlp = [&](const MlpKind& kind,
                           const std::string& name,
                           const Sharding& cut) -> Mlp {
    BlockConfig block = kind.block;
    block.sharding = cut;
    if (!config_.dense) {
      return MuMoEBlock(block, prefix + name, registry_, batch_group_);
    }
    auto dense = DenseMlpKind::uniform(block.input_dim, block.hidden_dim);
    dense.whole = cut.tp == nullptr;
    dense.gelu = config_.gelu;
    return DenseMlp(block.input_dim,
                    block.hidden_dim,
                    dense,
                    config_.bias,
                    prefix + name,
                    registry_,
                    config_.gemm,
                    cut.region());
  };
  const auto kinds = mixer_mlps(config_);
  const Norm token_norm = add_norm(prefix + "token_norm");
  Mlp token = add_mlp(kinds[0], "token.", {});
  const Norm channel_norm = add_norm(prefix + "channel_norm");
  Mlp channel = add_mlp(kinds[1], "channel.", sharding);
  return {first,
          registry_.parameters().size(),
          token_norm,
          std::move(token),
          channel_norm,
          std::move(channel)};
}

Tensor Mixer::own_features(const Tensor& images,
                           const StochasticDepth& depth) const {
  const auto wide = norm_.weight.scalar_type();
  const auto compute = stem_.scalar_type();
  const std::int64_t count = config_.patches(), width = config_.width;
  registry_.await(0, layers_.front().first);
  Residual stream(linear(patches_of(images, config_, compute),
                         stem_,
                         stem_bias_,
                         config_.gemm)
                      .to(wide),
                  compute);
  std::int64_t sublayer = 0;
  for (const Layer& layer : layers_) {
    registry_.await(layer.first, layer.last);
    const Tensor z_BCP =
        stream.normed(layer.token_norm.weight, layer.token_norm.bias)
            .view({-1, count, width})
            .transpose(1, 2);
    const Tensor y_BCP = std::visit(
        [&](const auto& mlp) {
          return mixed(mlp, z_BCP.reshape({-1, count}));
        },
        layer.token);
    stream.add(depth.of(
        sublayer++,
        y_BCP.view({-1, width, count}).transpose(1, 2).reshape({-1, width})));
    const Tensor z_TC =
        stream.normed(layer.channel_norm.weight, layer.channel_norm.bias);
    stream.add(
        depth.of(sublayer++,
                 std::visit([&](const auto& mlp) { return mixed(mlp, z_TC); },
                            layer.channel)));
  }
  registry_.await(layers_.back().last, registry_.parameters().size());
  return stream.normed(norm_.weight, norm_.bias)
      .view({-1, count, width})
      .mean(1, /*keepdim=*/false, wide);
}

Tensor Mixer::own_logits(const Tensor& images,
                         const StochasticDepth& depth) const {
  const Tensor h_BC = own_features(images, depth).to(stem_.scalar_type());
  return linear(h_BC, head_, head_bias_, config_.gemm)
      .to(norm_.weight.scalar_type());
}

Tensor Mixer::loss(const Batch& batch, double scale) const {
  const SampleParts parts(tp_);
  const StochasticDepth depth(
      config_,
      batch.ids.defined() ? parts.own(batch.ids) : Tensor());
  const Tensor logits_BK = own_logits(parts.own(batch.input), depth);
  return parts.sum(
      class_loss(logits_BK, parts.own(batch.target), config_.label_smoothing) *
      scale);
}

Tensor Mixer::logits(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  const Evaluation evaluation(blocks_);
  const SampleParts parts(tp_);
  return parts.all(own_logits(parts.own_padded(images), {}), images.size(0));
}

Tensor Mixer::features(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  const Evaluation evaluation(blocks_);
  const SampleParts parts(tp_);
  return parts.all(own_features(parts.own_padded(images), {}), images.size(0));
}

Score Mixer::score(const Batch& batch) const {
  const at::NoGradGuard no_grad;
  return class_score(logits(batch.input), batch.target);
}

std::string Mixer::describe() const {
  const ModelConfig& c = config_;
  const std::string mlps =
      c.dense ? fmt::format("dense MLPs of {} and {}",
                            c.token_hidden,
                            c.mlp.hidden_dim)
              : fmt::format("{} mixtures of {} experts, rank {} and {}",
                            c.mlp_name(),
                            fmt::join(c.mlp.experts, " x "),
                            fmt::join(c.token_ranks, ", "),
                            fmt::join(c.mlp.ranks, ", "));
  return fmt::format(
      "MLP-Mixer, {} blocks of width {}, {} patches of {} x {}, {} classes, "
      "for tokens and channels {}",
      c.depth,
      c.width,
      c.patches(),
      c.patch,
      c.patch,
      c.classes,
      mlps);
}

}  // namespace mumoe::model
