// Shapes: B samples (of this rank), P patches, C width, T = B P rows, K
// classes.
#include "model/mixer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/error.h"
#include "base/purposes.h"
#include "model/mixer_config.h"
#include "model/residual.h"
#include "model/sample_uniforms.h"

namespace mumoe::model {

using at::Tensor;
using dist::Initializer;

class Mixer::Depth {
 public:
  Depth() = default;
  Depth(const ModelConfig& config, const Tensor& ids) {
    const auto blocks = config.depth;
    if (config.stochastic_depth == 0 || blocks == 1 || !ids.defined()) return;
    const Tensor uniform_SB =
        sample_uniforms(config.seed, kStochasticDepth, 2 * blocks, ids);
    const Tensor block_S1 = at::arange(2 * blocks, ids.options())
                                .bitwise_right_shift(1)
                                .unsqueeze(1);
    const Tensor skipped_S1 =
        block_S1.to(at::kDouble) *
        (config.stochastic_depth / static_cast<double>(blocks - 1));
    factor_SB_ = (uniform_SB >= skipped_S1).to(at::kDouble) / (1 - skipped_S1);
  }

  /// What sublayer `index` gives to the stream, of its y [T, C].
  Tensor of(std::int64_t index, const Tensor& y) const {
    if (!factor_SB_.defined()) return y;
    const auto type = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const Tensor factor_B1 = factor_SB_[index].to(type).unsqueeze(1);
    return (y.reshape({factor_B1.size(0), -1}) * factor_B1)
        .to(y.scalar_type())
        .view(y.sizes());
  }

 private:
  Tensor factor_SB_;  ///< Of each sublayer.
};

namespace {

/// Batch norms of all blocks use running statistics while it lives.
class Evaluation {
 public:
  explicit Evaluation(std::span<MuMoEBlock* const> blocks) : blocks_(blocks) {
    for (MuMoEBlock* block : blocks_) block->set_training(false);
  }
  ~Evaluation() {
    for (MuMoEBlock* block : blocks_) block->set_training(true);
  }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  std::span<MuMoEBlock* const> blocks_;
};

Tensor mixed(const DenseMlp& mlp, const Tensor& z) {
  return mlp.forward_normed(z);
}
Tensor mixed(const MuMoEBlock& block, const Tensor& z) {
  return block.forward(z);
}

/// Σ of the cross-entropies of logits [B, K]; targets [B, 1] or [B, K].
Tensor cross_entropy(const Tensor& logits,
                     const Tensor& target,
                     double smoothing) {
  const bool shares = at::isFloatingType(target.scalar_type());
  return at::cross_entropy_loss(
      logits,
      shares ? target.to(logits.scalar_type()) : target.flatten(),
      {},
      at::Reduction::Sum,
      /*ignore_index=*/-100,
      smoothing);
}

/// How many classes are likelier than the right one, [B]; of equal ones, those
/// before it.
Tensor places(const Tensor& logits, const Tensor& target) {
  const bool shares = at::isFloatingType(target.scalar_type());
  const Tensor right =
      shares ? target.argmax(1, /*keepdim=*/true) : target.view({-1, 1});
  const Tensor its = logits.gather(1, right);
  const Tensor before = at::arange(logits.size(1), right.options()) < right;
  return ((logits > its) | ((logits == its) & before)).sum(1);
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

Tensor Mixer::patches(const Tensor& images) const {
  const std::int64_t p = config_.patch, side = config_.image_size / p;
  MUMOE_CHECK(images.dim() == 2 &&
                  images.size(1) == config_.channels * side * p * side * p,
              "images {}, expected {} channels of {} x {}",
              images.sizes(),
              config_.channels,
              side * p,
              side * p);
  return images.to(stem_.scalar_type())
      .view({-1, config_.channels, side, p, side, p})
      .permute({0, 2, 4, 3, 5, 1})
      .reshape({-1, p * p * config_.channels});
}

Tensor Mixer::own_logits(const Tensor& images, const Depth& depth) const {
  const auto wide = norm_.weight.scalar_type();
  const auto compute = stem_.scalar_type();
  const std::int64_t count = config_.patches(), width = config_.width;
  registry_.await(0, layers_.front().first);
  Residual stream(
      linear(patches(images), stem_, stem_bias_, config_.gemm).to(wide),
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
  const Tensor h_BC = stream.normed(norm_.weight, norm_.bias)
                          .view({-1, count, width})
                          .mean(1, /*keepdim=*/false, wide)
                          .to(compute);
  return linear(h_BC, head_, head_bias_, config_.gemm).to(wide);
}

Tensor Mixer::of_all_samples(const Tensor& part) const {
  if (!tp_.tokens_cut()) return part;
  const Tensor sum = tp_.of_all_ranks(part.detach().reshape({1})).sum();
  // The same bits on all ranks, and each its own part's gradient.
  return (part - part.detach()) + sum;
}

Tensor Mixer::loss(const Batch& batch, double scale) const {
  const dist::Slice rows = tp_.rows(batch.input.size(0));
  const auto own = [&](const Tensor& all) {
    return all.narrow(0, rows.begin, rows.count);
  };
  const Depth depth(config_, batch.ids.defined() ? own(batch.ids) : Tensor());
  const Tensor logits_BK = own_logits(own(batch.input), depth);
  return of_all_samples(
      cross_entropy(logits_BK, own(batch.target), config_.label_smoothing) *
      scale);
}

Tensor Mixer::own_rows(const Tensor& all) const {
  if (!tp_.tokens_cut()) return all;
  const std::int64_t total = dist::rounded_up(all.size(0), tp_.size());
  const dist::Slice rows = tp_.rows(total);
  return at::constant_pad_nd(all, {0, 0, 0, total - all.size(0)})
      .narrow(0, rows.begin, rows.count);
}

Tensor Mixer::logits(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  const Evaluation evaluation(blocks_);
  return tp_.enter(own_logits(own_rows(images), Depth()))
      .narrow(0, 0, images.size(0));
}

Score Mixer::score(const Batch& batch) const {
  const at::NoGradGuard no_grad;
  const Tensor logits_BK = logits(batch.input);
  const Tensor places_B = places(logits_BK, batch.target);
  const Tensor sums =
      at::stack({cross_entropy(logits_BK, batch.target, 0).to(at::kDouble),
                 (places_B < 1).sum().to(at::kDouble),
                 (places_B < 5).sum().to(at::kDouble)})
          .cpu();
  const auto count = [&](int i) {
    return static_cast<std::int64_t>(sums[i].item<double>());
  };
  return {.loss = sums[0].item<double>(), .top1 = count(1), .top5 = count(2)};
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
