// Shapes: B samples (b of this rank), P patches, T = P + 1 tokens, C width, K
// classes.
#include "model/vit.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "model/patches.h"
#include "model/residual.h"
#include "model/vit_config.h"

namespace mumoe::model {

using at::Tensor;
using dist::Initializer;

namespace {

constexpr double kDeviation = 0.02;  // of what is learnt for each place

Tensor mixed(const DenseMlp& mlp, const Tensor& z) {
  return mlp.forward_normed(z);
}
Tensor mixed(const MuMoEBlock& block, const Tensor& z) {
  return block.forward(z);
}

}  // namespace

Vit::Vit(const ModelConfig& config,
         dist::ParameterRegistry& registry,
         const Sharding& sharding,
         dist::Communicator* batch_group)
    : config_(config),
      registry_(registry),
      tp_(sharding.region()),
      parts_(tp_) {
  validate_vit(config_);
  {
    std::optional<dist::ParameterRegistry::Freezing> freezing;
    if (config_.frozen) freezing.emplace(registry_);
    add_front();
    for (std::int64_t l = 0; l < config_.depth; ++l) {
      layers_.push_back(add_layer(l, sharding, batch_group));
    }
    norm_ = add_norm("norm");
  }
  backbone_end_ = registry_.parameters().size();
  head_.emplace(head_shape(config_, config_.width),
                "head.",
                registry_,
                sharding,
                batch_group);
  for (Layer& layer : layers_) {
    auto* block = std::get_if<MuMoEBlock>(&layer.mlp);
    if (block == nullptr) continue;
    blocks_.push_back(block);
    if (config_.frozen) block->set_training(false);
  }
  const std::size_t frozen = config_.frozen ? blocks_.size() : 0;
  if (MuMoEBlock* block = head_->block()) blocks_.push_back(block);
  trained_ = std::span(blocks_).subspan(frozen);
  mixtures_.assign(blocks_.begin(), blocks_.end());
}

void Vit::add_front() {
  const std::int64_t inputs = config_.channels * config_.patch * config_.patch;
  const auto start =
      Initializer::uniform(1 / std::sqrt(static_cast<double>(inputs)));
  class_token_ = registry_.add({.name = "class_token",
                                .global_shape = {config_.width},
                                .placement = {},
                                .decay = false,
                                .init = Initializer::normal(0, kDeviation)});
  positions_ = registry_.add({.name = "positions",
                              .global_shape = {tokens(), config_.width},
                              .placement = {},
                              .init = Initializer::normal(0, kDeviation)});
  stem_ = registry_.add({.name = "stem.weight",
                         .global_shape = {config_.width, inputs},
                         .placement = {},
                         .init = start});
  if (config_.bias && !config_.norm_pre) {
    stem_bias_ = registry_.add({.name = "stem.bias",
                                .global_shape = {config_.width},
                                .placement = {},
                                .decay = false,
                                .init = start});
  }
  if (config_.norm_pre) norm_pre_ = add_norm("norm_pre");
}

Vit::Norm Vit::add_norm(const std::string& name) {
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

Vit::Layer Vit::add_layer(std::int64_t index,
                          const Sharding& sharding,
                          dist::Communicator* batch_group) {
  const std::string prefix = fmt::format("blocks.{}.", index);
  const std::size_t first = registry_.parameters().size();
  const auto make_mlp = [&]() -> std::variant<DenseMlp, MuMoEBlock> {
    const std::string name = prefix + "mlp.";
    if (!config_.dense) {
      BlockConfig block = vit_mlps(config_)[0].block;
      block.sharding = sharding;
      return MuMoEBlock(block, name, registry_, batch_group);
    }
    auto kind = DenseMlpKind::gpt2(config_.depth);
    kind.norm = false;
    kind.gelu = config_.gelu;
    return DenseMlp(config_.width,
                    config_.mlp.hidden_dim,
                    kind,
                    config_.bias,
                    name,
                    registry_,
                    config_.gemm,
                    tp_);
  };
  const Norm norm1 = add_norm(prefix + "norm1");
  Attention attention(config_.width,
                      config_.heads,
                      config_.depth,
                      config_.bias,
                      prefix + "attn.",
                      registry_,
                      config_.gemm,
                      tp_,
                      Sees::all);
  const Norm norm2 = add_norm(prefix + "norm2");
  auto mlp = make_mlp();
  return {first,
          registry_.parameters().size(),
          norm1,
          std::move(attention),
          norm2,
          std::move(mlp)};
}

Tensor Vit::embed_images(const Tensor& images) const {
  const auto wide = norm_.weight.scalar_type();
  const std::int64_t samples = images.size(0), width = config_.width;
  const Tensor patches_bPC =
      linear(patches_of(images, config_, stem_.scalar_type()),
             stem_,
             stem_bias_,
             config_.gemm)
          .view({samples, -1, width})
          .to(wide);
  const Tensor first_b1C = class_token_.to(wide).expand({samples, 1, width});
  const Tensor x_bTC =
      at::cat({first_b1C, patches_bPC}, 1) + positions_.to(wide);
  const Tensor x = x_bTC.view({-1, width});
  if (!config_.norm_pre) return x;
  return at::layer_norm(x,
                        {width},
                        norm_pre_.weight,
                        norm_pre_.bias,
                        config_.norm_epsilon);
}

Tensor Vit::own_features(const Tensor& images,
                         const StochasticDepth& depth) const {
  const auto compute = stem_.scalar_type();
  const std::int64_t samples = images.size(0);
  registry_.await(0, layers_.front().first);
  Residual stream(embed_images(images), compute, config_.norm_epsilon);
  std::int64_t sublayer = 0;
  for (const Layer& layer : layers_) {
    registry_.await(layer.first, layer.last);
    stream.add(depth.of(sublayer++,
                        layer.attention.forward(
                            stream.normed(layer.norm1.weight, layer.norm1.bias),
                            samples * sample_ranks())));
    const Tensor z = stream.normed(layer.norm2.weight, layer.norm2.bias);
    stream.add(depth.of(
        sublayer++,
        std::visit([&](const auto& mlp) { return mixed(mlp, z); }, layer.mlp)));
  }
  registry_.await(layers_.back().last, backbone_end_);
  // A norm is of each row: that of the class is enough.
  std::vector<Tensor> state = stream.state();
  for (Tensor& x : state) {
    x = x.view({samples, tokens(), -1}).select(1, 0).contiguous();
  }
  return Residual(state, compute, config_.norm_epsilon)
      .normed(norm_.weight, norm_.bias);
}

Tensor Vit::own_logits(const Tensor& images,
                       const StochasticDepth& depth) const {
  const auto features = [&] {
    if (!config_.frozen) return own_features(images, depth);
    const at::NoGradGuard no_grad;
    return own_features(images, {});
  };
  const Tensor h_bC = features();
  registry_.await(backbone_end_, registry_.parameters().size());
  return head_->forward(h_bC);
}

Tensor Vit::loss(const Batch& batch, double scale) const {
  const StochasticDepth depth(
      config_,
      batch.ids.defined() ? parts_.own(batch.ids) : Tensor());
  const Tensor logits_BK = own_logits(parts_.own(batch.input), depth);
  return parts_.sum(
      class_loss(logits_BK, parts_.own(batch.target), config_.label_smoothing) *
      scale);
}

Tensor Vit::logits(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  const Evaluation evaluation(trained_);
  return parts_.all(own_logits(parts_.own_padded(images), {}), images.size(0));
}

Tensor Vit::features(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  const Evaluation evaluation(trained_);
  return parts_.all(own_features(parts_.own_padded(images), {}),
                    images.size(0));
}

Score Vit::score(const Batch& batch) const {
  const at::NoGradGuard no_grad;
  return class_score(logits(batch.input), batch.target);
}

std::string Vit::describe() const {
  const ModelConfig& c = config_;
  return fmt::format(
      "ViT, {} blocks of width {}, {} heads, {} patches of {} x {}, {} "
      "classes, "
      "{}{}, {}",
      c.depth,
      c.width,
      c.heads,
      c.patches(),
      c.patch,
      c.patch,
      c.classes,
      c.dense ? fmt::format("dense MLPs of {}", c.mlp.hidden_dim)
              : fmt::format("{} mixtures of {} experts, rank {}",
                            c.mlp_name(),
                            fmt::join(c.mlp.experts, " x "),
                            fmt::join(c.mlp.ranks, ", ")),
      c.frozen ? ", frozen" : "",
      head_->describe());
}

}  // namespace mumoe::model
