// Shapes: B samples, T tokens, C width, V vocabulary.
#include "model/gpt2.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "model/cross_entropy.h"
#include "model/embedding.h"

namespace mumoe::model {

using dist::Initializer;
using dist::ParameterRegistry;

namespace {

/// What `check` throws, with "model.KEY = 4,4: " before it.
template <class Check>
void named(const char* key,
           const std::vector<std::int64_t>& values,
           Check check) {
  try {
    check();
  } catch (const InputError& error) {
    std::string text;
    for (const auto value : values) {
      text += fmt::format("{}{}", text.empty() ? "" : ",", value);
    }
    fail<InputError>("model.{} = {}: {}", key, text, error.what());
  }
}

}  // namespace

void Gpt2Config::validate_but_ranks() const {
  // So far no size of a tensor overflows, nor any sum of them.
  static constexpr std::int64_t kLargest = 1 << 24;
  const auto extent = [](const char* key, std::int64_t value) {
    require(value > 0, "model.{} = {}: expected at least 1", key, value);
    require(value <= kLargest,
            "model.{} = {}: expected at most {}",
            key,
            value,
            kLargest);
  };
  extent("depth", depth);
  extent("heads", heads);
  extent("width", width);
  extent("context", context);
  extent("vocab", vocab);
  extent("hidden", hidden);
  require(width % heads == 0,
          "model.heads = {}: model.width = {} does not divide by it",
          heads,
          width);
  if (mlp == MlpKind::dense) return;
  // Its running statistics would have to be part of checkpoints.
  require(gate.norm != GateNorm::batch,
          "model.gate_norm = batch: GPT-2 has layer and none, since statistics "
          "over tokens would mix positions");
  // What is wrong with as many ranks as there must be is the experts' fault.
  named("experts", experts, [&] {
    const Form form = block().form;
    LayerShape{form,
               width,
               hidden,
               experts,
               std::vector<std::int64_t>(rank_count(form, experts.size()), 1)}
        .validate();
  });
  require(level_noise >= 0,
          "model.level_noise = {}: expected at least 0",
          level_noise);
  if (gate.activation != GateActivation::top_k) return;
  const auto fewest = *std::min_element(experts.begin(), experts.end());
  require(gate.top_k >= 1 && gate.top_k <= fewest,
          "model.gate_top_k = {}: expected 1 to {}, the experts of a level",
          gate.top_k,
          fewest);
}

void Gpt2Config::validate() const {
  validate_but_ranks();
  if (mlp == MlpKind::dense) return;
  named("rank", ranks, [&] {
    block().validate();
    MuMoEBlock::parameter_count(block());  // refuses what cannot be counted
  });
}

BlockConfig Gpt2Config::block() const {
  const Form form = mlp == MlpKind::tr       ? Form::tensor_ring
                    : mlp == MlpKind::tt     ? Form::tensor_train
                    : mlp == MlpKind::tucker ? Form::tucker
                                             : Form::cp;
  return {.input_dim = width,
          .hidden_dim = hidden,
          .output_dim = width,
          .experts = experts,
          .form = form,
          .ranks = ranks,
          .gate = gate,
          .input_layer_norm = true,
          .expert_bias = expert_bias,
          .level_noise = level_noise,
          .gemm = gemm,
          .mixing = mixing,
          .recompute = recompute,
          .gradients_in_place = true};
}

void Gpt2Config::validate_sharding(const Sharding& sharding) const {
  const auto tp = sharding.region();
  require(heads % tp.size() == 0,
          "parallel.tp = {}: model.heads = {} does not divide by it, and "
          "attention is cut by heads",
          tp.size(),
          heads);
  require(!tp.tokens_cut() || context % tp.size() == 0,
          "parallel.plan = sequence: cuts the tokens of a window, and "
          "model.context = {} does not divide by parallel.tp = {}; the plan "
          "bottleneck does not cut tokens",
          context,
          tp.size());
}

Gpt2::Gpt2(const Gpt2Config& config,
           ParameterRegistry& registry,
           const Sharding& sharding)
    : config_(config),
      registry_(registry),
      tp_(sharding.region()),
      vocabulary_{config.vocab, tp_} {
  config_.validate();
  config_.validate_sharding(sharding);
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape,
                       Initializer init,
                       dist::Placement placement = {}) {
    const bool is_norm = shape.size() == 1;
    return registry.add({.name = name,
                         .global_shape = std::move(shape),
                         .placement = placement,
                         .decay = !is_norm,
                         .init = init,
                         .full_precision = is_norm});
  };
  const auto norm = [&](const std::string& name,
                        at::Tensor& weight,
                        at::Tensor& bias) {
    weight = add(name + ".weight", {config_.width}, Initializer::constant(1));
    if (config_.bias) {
      bias = add(name + ".bias", {config_.width}, Initializer::constant(0));
    }
  };
  token_embedding_ = add("wte",
                         {config_.vocab, config_.width},
                         Initializer::normal(0, 0.02),
                         dist::Placement::cut(0));
  position_embedding_ = add("wpe",
                            {config_.context, config_.width},
                            Initializer::normal(0, 0.02));
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
    std::variant<DenseMlp, MuMoEBlock> mlp =
        config_.mlp == MlpKind::dense
            ? std::variant<DenseMlp, MuMoEBlock>(DenseMlp(config_.width,
                                                          config_.hidden,
                                                          config_.depth,
                                                          config_.bias,
                                                          prefix + "mlp.",
                                                          registry,
                                                          config_.gemm,
                                                          tp_))
            : MuMoEBlock(block, prefix + "mlp.", registry);
    layers_.push_back({first,
                       registry.parameters().size(),
                       weight,
                       bias,
                       std::move(attention),
                       std::move(mlp)});
  }
  norm("ln_f", norm_weight_, norm_bias_);
  for (const Layer& layer : layers_) {
    const auto* block = std::get_if<MuMoEBlock>(&layer.mlp);
    if (block != nullptr) mixtures_.push_back(block);
  }
}

at::Tensor Gpt2::hidden(const at::Tensor& tokens_BT) const {
  const std::int64_t length = tokens_BT.size(1);
  MUMOE_CHECK(length <= config_.context,
              "{} tokens, the context is {}",
              length,
              config_.context);
  const auto wide = norm_weight_.scalar_type();
  const auto norm = [&](const at::Tensor& x,
                        const at::Tensor& weight,
                        const at::Tensor& bias) {
    return at::layer_norm(x, {config_.width}, weight, bias)
        .to(token_embedding_.scalar_type());
  };
  const std::int64_t samples = tokens_BT.size(0);
  const dist::Slice rows = tp_.rows(samples * length);
  const at::Tensor positions =
      at::arange(rows.begin, rows.begin + rows.count, tokens_BT.options())
          .remainder(length);
  registry_.await(0, layers_.front().first);
  at::Tensor x =
      tp_.leave(embed(token_embedding_, tokens_BT.flatten(), vocabulary_))
          .to(wide) +
      embed(position_embedding_, positions);
  for (const Layer& layer : layers_) {
    registry_.await(layer.first, layer.last);
    x = x + layer.attention.forward(norm(x, layer.norm_weight, layer.norm_bias),
                                    samples);
    x = x +
        std::visit([&](const auto& mlp) { return mlp.forward(x); }, layer.mlp);
  }
  registry_.await(layers_.back().last, registry_.parameters().size());
  return norm(x, norm_weight_, norm_bias_);
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

double Gpt2::flops_per_sample() const {
  return flops_per_token(config_) * static_cast<double>(config_.context);
}

at::Tensor Gpt2::next_logits(const at::Tensor& tokens) const {
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

double flops_per_token(const Gpt2Config& c) {
  const std::int64_t attention = 4 * c.width * c.width;
  const std::int64_t mlp = c.mlp == MlpKind::dense
                               ? 2 * c.width * c.hidden
                               : MuMoEBlock::macs_per_token(c.block());
  const double macs =
      static_cast<double>(c.depth * (attention + mlp) + c.vocab * c.width);
  return 6.0 * macs + 6.0 * static_cast<double>(c.depth * c.width * c.context);
}

namespace {

/// Columns of the head beyond which a product is as fast as one of all.
constexpr std::int64_t kMostColumns = 4096;

/// [tokens, I] meets the factors of one layer as matrices: its experts, its
/// input, its output.
void add_layer(std::vector<Product>& products,
               const LayerShape& layer,
               std::int64_t tokens) {
  const auto& r = layer.ranks;
  const bool ring =
      layer.form == Form::tensor_ring || layer.form == Form::tensor_train;
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    const std::int64_t columns = layer.form == Form::cp ? r[0]
                                 : ring                 ? r[e] * r[e + 1]
                                                        : r[e];
    products.push_back({tokens, layer.experts[e], columns});
  }
  const std::int64_t last = r.back();
  const std::int64_t before = ring ? r[r.size() - 2] : 1;
  products.push_back({tokens, layer.inputs, before * last});
  products.push_back({tokens, ring ? r[0] * last : last, layer.outputs});
}

}  // namespace

std::vector<Product> main_products(const Gpt2Config& c, std::int64_t tokens) {
  std::vector<Product> products = {{tokens, c.width, 3 * c.width},
                                   {tokens, c.width, c.width}};
  if (c.mlp == MlpKind::dense) {
    products.push_back({tokens, c.width, c.hidden});
    products.push_back({tokens, c.hidden, c.width});
  } else {
    const BlockShape block = c.block().shape();
    for (const std::int64_t experts : block.experts) {
      products.push_back({tokens, block.input_dim, experts});
    }
    for (const LayerShape& layer : block.layers(c.ranks)) {
      add_layer(products, layer, tokens);
    }
  }
  products.push_back({tokens, c.width, std::min(c.vocab, kMostColumns)});
  return products;
}

}  // namespace mumoe::model
