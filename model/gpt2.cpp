// Shapes: B samples, T tokens, C width, V vocabulary.
#include "model/gpt2.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "model/cost.h"
#include "model/cross_entropy.h"
#include "model/embedding.h"
#include "model/gpt2_config.h"
#include "model/residual.h"

namespace mumoe::model {

using dist::Initializer;
using dist::ParameterRegistry;

namespace {

/// What a layer has as its MLP.
std::variant<DenseMlp, MuMoEBlock> make_mlp(const ModelConfig& config,
                                            const BlockConfig& block,
                                            const std::string& prefix,
                                            ParameterRegistry& registry,
                                            const dist::TensorParallel& tp) {
  if (!config.dense) return MuMoEBlock(block, prefix, registry);
  return DenseMlp(config.width,
                  config.mlp.hidden_dim,
                  DenseMlpStart::gpt2(config.depth),
                  config.bias,
                  prefix,
                  registry,
                  config.gemm,
                  tp);
}

}  // namespace

Gpt2::Gpt2(const ModelConfig& config,
           ParameterRegistry& registry,
           const Sharding& sharding)
    : config_(config),
      registry_(registry),
      tp_(sharding.region()),
      vocabulary_{config.vocab, tp_} {
  validate_gpt2(config_);
  validate_gpt2_sharding(config_, sharding, 0);
  const auto norm =
      [&](const std::string& name, at::Tensor& weight, at::Tensor& bias) {
        const auto add = [&](const char* part, double value) {
          return registry.add({.name = name + part,
                               .global_shape = {config_.width},
                               .placement = {},
                               .decay = false,
                               .init = Initializer::constant(value),
                               .full_precision = true});
        };
        weight = add(".weight", 1);
        if (config_.bias) bias = add(".bias", 0);
      };
  token_embedding_ =
      registry.add({.name = "wte",
                    .global_shape = {config_.vocab, config_.width},
                    .placement = dist::Placement::cut(0),
                    .init = Initializer::normal(0, 0.02)});
  position_embedding_ =
      registry.add({.name = "wpe",
                    .global_shape = {config_.context, config_.width},
                    .placement = {},
                    .init = Initializer::normal(0, 0.02)});
  BlockConfig block = config_.block();
  block.sharding = sharding;
  for (std::int64_t l = 0; l < config_.depth; ++l) {
    const std::string prefix = fmt::format("h.{}.", l);
    const std::size_t first = registry.parameters().size();
    at::Tensor weight, bias;
    norm(prefix + "ln_1", weight, bias);
    Attention attention(config_.width,
                        config_.heads,
                        config_.depth,
                        config_.bias,
                        prefix + "attn.",
                        registry,
                        config_.gemm,
                        tp_);
    auto mlp = make_mlp(config_, block, prefix + "mlp.", registry, tp_);
    layers_.push_back({first,
                       registry.parameters().size(),
                       weight,
                       bias,
                       std::move(attention),
                       std::move(mlp)});
  }
  norm("ln_f", norm_weight_, norm_bias_);
  for (Layer& layer : layers_) {
    if (auto* block = std::get_if<MuMoEBlock>(&layer.mlp)) {
      blocks_.push_back(block);
    }
  }
  mixtures_.assign(blocks_.begin(), blocks_.end());
}

at::Tensor Gpt2::hidden(const at::Tensor& tokens_BT) const {
  const std::int64_t length = tokens_BT.size(1);
  MUMOE_CHECK(length <= config_.context,
              "{} tokens, the context is {}",
              length,
              config_.context);
  const auto wide = norm_weight_.scalar_type();
  const std::int64_t samples = tokens_BT.size(0);
  const dist::Slice rows = tp_.rows(samples * length);
  const at::Tensor positions =
      at::arange(rows.begin, rows.begin + rows.count, tokens_BT.options())
          .remainder(length);
  registry_.await(0, layers_.front().first);
  Residual stream(
      tp_.leave(embed(token_embedding_, tokens_BT.flatten(), vocabulary_))
              .to(wide) +
          embed(position_embedding_, positions),
      token_embedding_.scalar_type());
  for (const Layer& layer : layers_) {
    registry_.await(layer.first, layer.last);
    stream.add(layer.attention.forward(
        stream.normed(layer.norm_weight, layer.norm_bias),
        samples));
    stream.add(std::visit([&](const auto& mlp) { return stream.through(mlp); },
                          layer.mlp));
  }
  registry_.await(layers_.back().last, registry_.parameters().size());
  return stream.normed(norm_weight_, norm_bias_);
}

at::Tensor Gpt2::loss(const Batch& batch, double scale) const {
  return linear_cross_entropy(tp_.enter(hidden(batch.input)),
                              token_embedding_,
                              batch.target,
                              scale,
                              config_.gemm,
                              vocabulary_);
}

Score Gpt2::score(const Batch& batch) const {
  at::NoGradGuard no_grad;
  return {loss(batch, 1).item<double>()};
}

PassCost Gpt2::cost(std::int64_t samples, at::Device device) const {
  const auto width = static_cast<double>(config_.width);
  const auto tokens = static_cast<double>(samples * config_.context);
  const auto rows =
      static_cast<double>(tp_.rows(samples * config_.context).count);
  const auto element = static_cast<double>(token_embedding_.element_size());
  const auto wide = static_cast<double>(norm_weight_.element_size());
  // The embedding and what enters the head; the last norm's input.
  PassCost sum{
      .tp_bytes = tp_.exchanged(tokens * width * element),
      .tp_operations = tp_.exchanges(),
      .kept_bytes =
          embed_kept_bytes(tokens, token_embedding_.size(0), vocabulary_) +
          rows * sizeof(std::int64_t) + rows * (width + 2) * wide};
  sum += linear_cross_entropy_cost(samples * config_.context,
                                   token_embedding_,
                                   vocabulary_,
                                   device);
  for (const Layer& layer : layers_) {
    sum += layer.attention.cost(samples, config_.context);
    sum.kept_bytes += rows * (width + 2) * wide;  // of its norm
    if (const auto* dense = std::get_if<DenseMlp>(&layer.mlp)) {
      sum += dense->cost(samples * config_.context, wide);
    } else {
      sum += block_cost(std::get<MuMoEBlock>(layer.mlp),
                        samples * config_.context,
                        norm_weight_.scalar_type(),
                        device);
    }
  }
  return sum;
}

std::string Gpt2::describe() const {
  const ModelConfig& c = config_;
  return fmt::format("GPT-2, {} blocks of width {}, {} heads, context {}, {}",
                     c.depth,
                     c.width,
                     c.heads,
                     c.context,
                     c.dense ? fmt::format("dense MLPs of {}", c.mlp.hidden_dim)
                             : fmt::format("{} mixtures of {} experts, rank {}",
                                           c.mlp_name(),
                                           fmt::join(c.mlp.experts, " x "),
                                           fmt::join(c.mlp.ranks, ", ")));
}

at::Tensor Gpt2::token_losses(const Batch& batch) const {
  const at::NoGradGuard no_grad;
  return token_cross_entropy(tp_.enter(hidden(batch.input)),
                             token_embedding_,
                             batch.target,
                             config_.gemm,
                             vocabulary_)
      .view(batch.target.sizes());
}

at::Tensor Gpt2::next_logits(const at::Tensor& tokens) const {
  const at::NoGradGuard no_grad;
  const at::Tensor h_BTC =
      tp_.enter(hidden(tokens)).view({tokens.size(0), tokens.size(1), -1});
  const at::Tensor logits =
      mm(h_BTC.select(1, -1), token_embedding_.t(), config_.gemm);
  // [ranks, B, rows] → [B, V]
  return tp_.of_all_ranks(logits).movedim(0, 1).flatten(1).narrow(
      1,
      0,
      config_.vocab);
}

namespace {

/// Columns of the head beyond which a product is as fast as one of all.
constexpr std::int64_t kMostColumns = 4096;

}  // namespace

std::vector<Product> Gpt2::products(std::int64_t samples) const {
  const ModelConfig& c = config_;
  const std::int64_t tokens = samples * c.context;
  std::vector<Product> products = {{tokens, c.width, 3 * c.width},
                                   {tokens, c.width, c.width}};
  if (c.dense) {
    products.push_back({tokens, c.width, c.mlp.hidden_dim});
    products.push_back({tokens, c.mlp.hidden_dim, c.width});
  } else {
    add_products(products, c.block(), tokens);
  }
  products.push_back({tokens, c.width, std::min(c.vocab, kMostColumns)});
  return products;
}

}  // namespace mumoe::model
