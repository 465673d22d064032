// Shapes: B samples, T tokens, C width, V vocabulary.
#include "model/gpt2.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "model/cost.h"
#include "model/cross_entropy.h"
#include "model/dropout.h"
#include "model/embedding.h"
#include "model/gpt2_config.h"
#include "model/recomputed.h"
#include "model/residual.h"
#include "mumoe/norm.h"
#include "mumoe/plan_cost.h"

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
  auto dense = DenseMlpKind::gpt2(config.depth);
  dense.gelu = config.gelu;
  return DenseMlp(config.width,
                  config.mlp.hidden_dim,
                  dense,
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

std::vector<at::Tensor> Gpt2::through(std::size_t l,
                                      const std::vector<at::Tensor>& state,
                                      const Attend& attend,
                                      const Dropout& drop,
                                      bool again) const {
  const Layer& layer = layers_[l];
  std::optional<MuMoEBlock::Repeating> repeating;
  const auto* block = std::get_if<MuMoEBlock>(&layer.mlp);
  if (again && block != nullptr) repeating.emplace(*block);
  Residual stream(state, token_embedding_.scalar_type());
  stream.add(
      drop.of_rows(attend(l, stream.normed(layer.norm_weight, layer.norm_bias)),
                   DropPlace::attention,
                   l));
  stream.add(drop.of_rows(
      std::visit([&](const auto& mlp) { return stream.through(mlp); },
                 layer.mlp),
      DropPlace::mlp,
      l));
  return stream.state();
}

at::Tensor Gpt2::hidden(const at::Tensor& tokens_N,
                        const at::Tensor& positions,
                        const Attend& attend,
                        const Dropout& drop) const {
  const auto wide = norm_weight_.scalar_type();
  registry_.await(0, layers_.front().first);
  std::vector<at::Tensor> state = {drop.of_rows(
      tp_.leave(embed(token_embedding_, tokens_N, vocabulary_)).to(wide) +
          embed(position_embedding_, positions),
      DropPlace::embedding)};
  const bool repeats =
      config_.recompute == Recompute::everything && at::GradMode::is_enabled();
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    registry_.await(layers_[l].first, layers_[l].last);
    const Part layer = [this, l, attend, drop](const auto& before, bool again) {
      return through(l, before, attend, drop, again);
    };
    state = repeats ? recomputed(state, layer) : layer(state, /*again=*/false);
  }
  registry_.await(layers_.back().last, registry_.parameters().size());
  return Residual(state, token_embedding_.scalar_type())
      .normed(norm_weight_, norm_bias_);
}

at::Tensor Gpt2::hidden(const at::Tensor& tokens_BT,
                        const at::Tensor& ids) const {
  const std::int64_t samples = tokens_BT.size(0), length = tokens_BT.size(1);
  MUMOE_CHECK(length <= config_.context,
              "{} tokens, the context is {}",
              length,
              config_.context);
  const dist::Slice rows = tp_.rows(samples * length);
  const Dropout drop(config_.dropout, config_.seed, ids, length, rows);
  const at::Tensor positions =
      at::arange(rows.begin, rows.begin + rows.count, tokens_BT.options())
          .remainder(length);
  return hidden(
      tokens_BT.flatten(),
      positions,
      [this, samples, drop](std::size_t l, const at::Tensor& normed) {
        return layers_[l].attention.forward(normed, samples, drop, l);
      },
      drop);
}

at::Tensor Gpt2::loss(const Batch& batch, double scale) const {
  return linear_cross_entropy(tp_.enter(hidden(batch.input, batch.ids)),
                              token_embedding_,
                              batch.target,
                              scale,
                              config_.gemm,
                              vocabulary_);
}

Score Gpt2::score(const Batch& batch) const {
  at::NoGradGuard no_grad;
  return {loss({batch.input, batch.target}, 1).item<double>()};
}

PassCost Gpt2::layer_cost(const Layer& layer,
                          std::int64_t samples,
                          at::Device device) const {
  const std::int64_t tokens = samples * config_.context;
  const auto rows = static_cast<double>(tp_.rows(tokens).count);
  const auto width = static_cast<double>(config_.width);
  const auto element = static_cast<double>(token_embedding_.element_size());
  const auto wide = static_cast<double>(norm_weight_.element_size());
  const bool drops = config_.dropout > 0;
  PassCost cost = layer.attention.cost(samples, config_.context, drops);
  cost.kept_bytes += rows * (width + 2) * wide;  // of its norm
  if (drops) cost.kept_bytes += 2 * dropout_kept_bytes(rows);
  double exchanged = cost.tp_bytes / 2;  // of forward alone
  std::int64_t operations = cost.tp_operations / 2;
  if (const auto* dense = std::get_if<DenseMlp>(&layer.mlp)) {
    const PassCost mlp = dense->cost(tokens, wide);
    exchanged += mlp.tp_bytes / 2;
    operations += mlp.tp_operations / 2;
    cost += mlp;
  } else {
    const auto& block = std::get<MuMoEBlock>(layer.mlp);
    const PlanCost a_token = plan_cost_of(block);
    exchanged +=
        static_cast<double>(tokens) * a_token.forward_elements * element;
    operations += a_token.forward_operations;
    cost += block_cost(block, tokens, norm_weight_.scalar_type(), device);
  }
  if (config_.recompute != Recompute::everything) return cost;
  // What the stream holds, and forward once more.
  const bool fused = fuses_residual_norm(device,
                                         norm_weight_.scalar_type(),
                                         token_embedding_.scalar_type(),
                                         config_.width);
  const bool first = &layer == &layers_.front();
  cost.repeated_bytes = cost.kept_bytes;
  cost.kept_bytes = rows * width * (wide + (fused && !first ? element : 0));
  cost.repeated_flops += cost.rank_flops / 3;
  cost.tp_bytes += exchanged;
  cost.tp_operations += operations;
  return cost;
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
  if (config_.dropout > 0) sum.kept_bytes += dropout_kept_bytes(rows);
  sum += linear_cross_entropy_cost(samples * config_.context,
                                   token_embedding_,
                                   vocabulary_,
                                   device);
  for (const Layer& layer : layers_) sum += layer_cost(layer, samples, device);
  return sum;
}

std::vector<const DenseMlp*> Gpt2::dense_mlps() const {
  std::vector<const DenseMlp*> all;
  for (const Layer& layer : layers_) {
    if (const auto* mlp = std::get_if<DenseMlp>(&layer.mlp)) all.push_back(mlp);
  }
  return all;
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
  return token_cross_entropy(tp_.enter(hidden(batch.input, {})),
                             token_embedding_,
                             batch.target,
                             config_.gemm,
                             vocabulary_)
      .view(batch.target.sizes());
}

at::Tensor Gpt2::logits(const at::Tensor& hidden_BC) const {
  const at::Tensor part = mm(hidden_BC, token_embedding_.t(), config_.gemm);
  // [ranks, B, rows] → [B, V]
  return tp_.of_all_ranks(part).movedim(0, 1).flatten(1).narrow(1,
                                                                0,
                                                                config_.vocab);
}

at::Tensor Gpt2::next_logits(const at::Tensor& tokens) const {
  const at::NoGradGuard no_grad;
  const at::Tensor h_BTC =
      tp_.enter(hidden(tokens, {})).view({tokens.size(0), tokens.size(1), -1});
  return logits(h_BTC.select(1, -1));
}

KeyValueCache Gpt2::cache(std::int64_t samples) const {
  return {{.layers = config_.depth,
           .samples = samples,
           .capacity = config_.context,
           .heads = layers_.front().attention.heads(),
           .head_dim = config_.width / config_.heads},
          token_embedding_.options().requires_grad(false)};
}

at::Tensor Gpt2::next_logits(const at::Tensor& tokens_BT,
                             std::span<const std::int64_t> counts,
                             KeyValueCache& cache) const {
  const at::NoGradGuard no_grad;
  const KeyValueCache::Places places = cache.next(tokens_BT.size(1));
  // Where tokens are cut, rows that nobody looks at make them divide.
  const std::int64_t total = tokens_BT.numel();
  const std::int64_t ranks = tp_.tokens_cut() ? tp_.size() : 1;
  const auto filled = [&](const at::Tensor& rows) {
    return at::constant_pad_nd(rows.flatten(),
                               {0, (ranks - total % ranks) % ranks});
  };
  const at::Tensor tokens_N = filled(tokens_BT);
  const dist::Slice rows = tp_.rows(tokens_N.size(0));
  const at::Tensor h_NC = tp_.enter(
      hidden(tokens_N,
             filled(places.positions).narrow(0, rows.begin, rows.count),
             [&](std::size_t l, const at::Tensor& normed) {
               return layers_[l].attention.forward(normed, cache, l, places);
             }));
  std::vector<std::int64_t> last;
  for (std::size_t b = 0; b < counts.size(); ++b) {
    MUMOE_CHECK(counts[b] >= 1 && counts[b] <= tokens_BT.size(1));
    last.push_back(static_cast<std::int64_t>(b) * tokens_BT.size(1) +
                   counts[b] - 1);
  }
  cache.advance(counts);
  return logits(
      h_NC.index_select(0, at::tensor(last, at::kLong).to(h_NC.device())));
}

namespace {

/// Columns of the head beyond which a product is as fast as one of all.
constexpr std::int64_t kMostColumns = 4096;

}  // namespace

std::vector<Product> Gpt2::products(std::int64_t samples) const {
  const ModelConfig& c = config_;
  const std::int64_t tokens = samples * c.context;
  const auto depth = static_cast<double>(c.depth);
  std::vector<Product> products = {{tokens, c.width, 3 * c.width, depth},
                                   {tokens, c.width, c.width, depth}};
  if (c.dense) {
    products.push_back({tokens, c.width, c.mlp.hidden_dim, depth});
    products.push_back({tokens, c.mlp.hidden_dim, c.width, depth});
  } else {
    add_products(products, c.block(), tokens, c.depth);
  }
  const std::int64_t columns = std::min(c.vocab, kMostColumns);
  products.push_back(
      {tokens,
       c.width,
       columns,
       static_cast<double>(c.vocab) / static_cast<double>(columns)});
  return products;
}

}  // namespace mumoe::model
