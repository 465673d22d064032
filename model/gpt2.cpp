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

namespace mumoe::model {

using dist::Initializer;
using dist::ParameterRegistry;

namespace {

constexpr std::string_view kDense = "dense";

/// What `check` throws, with "MEMBER = 4,4: " before it.
template <class Check>
void named(const char* member,
           const std::vector<std::int64_t>& values,
           Check check) {
  try {
    check();
  } catch (const InputError& error) {
    fail<InputError>("{} = {}: {}",
                     member,
                     fmt::join(values, ","),
                     error.what());
  }
}

/// What a layer has as its MLP.
std::variant<DenseMlp, MuMoEBlock> make_mlp(const Gpt2Config& config,
                                            const BlockConfig& block,
                                            const std::string& prefix,
                                            ParameterRegistry& registry,
                                            const dist::TensorParallel& tp) {
  if (!config.dense) return MuMoEBlock(block, prefix, registry);
  return DenseMlp(config.width,
                  config.mlp.hidden_dim,
                  config.depth,
                  config.bias,
                  prefix,
                  registry,
                  config.gemm,
                  tp);
}

}  // namespace

void Gpt2Config::validate_but_ranks() const {
  // So far no size of a tensor overflows, nor any sum of them.
  static constexpr std::int64_t kLargest = 1 << 24;
  const auto extent = [](const char* member, std::int64_t value) {
    require(value > 0, "{} = {}: expected at least 1", member, value);
    require(value <= kLargest,
            "{} = {}: expected at most {}",
            member,
            value,
            kLargest);
  };
  extent("depth", depth);
  extent("heads", heads);
  extent("width", width);
  extent("context", context);
  extent("vocab", vocab);
  extent("mlp.hidden_dim", mlp.hidden_dim);
  require(width % heads == 0,
          "heads = {}: width = {} does not divide by it",
          heads,
          width);
  if (dense) return;
  // Its running statistics would have to be part of checkpoints.
  require(mlp.gate.norm != GateNorm::batch,
          "mlp.gate.norm = batch: GPT-2 has layer and none, since statistics "
          "over tokens would mix positions");
  // What is wrong with as many ranks as there must be is the experts' fault.
  named("mlp.experts", mlp.experts, [&] {
    const std::vector<std::int64_t> ones(
        rank_count(mlp.form, mlp.experts.size()),
        1);
    for (const auto& layer : block().shape().layers(ones)) layer.validate();
  });
  require(mlp.level_noise >= 0,
          "mlp.level_noise = {}: expected at least 0",
          mlp.level_noise);
  if (mlp.gate.activation != GateActivation::top_k) return;
  const auto fewest = *std::min_element(mlp.experts.begin(), mlp.experts.end());
  require(mlp.gate.top_k >= 1 && mlp.gate.top_k <= fewest,
          "mlp.gate.top_k = {}: expected 1 to {}, the experts of a level",
          mlp.gate.top_k,
          fewest);
}

void Gpt2Config::validate() const {
  validate_but_ranks();
  if (dense) return;
  named("mlp.ranks", mlp.ranks, [&] {
    block().validate();
    MuMoEBlock::parameter_count(block());  // refuses what cannot be counted
  });
}

std::string_view Gpt2Config::mlp_name() const {
  return dense ? kDense : to_string(mlp.form);
}

void Gpt2Config::set_mlp(std::string_view name) {
  dense = name == kDense;
  if (dense) return;
  std::string allowed(kDense);
  for (const Form form : forms()) {
    if (to_string(form) == name) {
      mlp.form = form;
      return;
    }
    allowed += fmt::format(", {}", to_string(form));
  }
  fail<InputError>("expected one of: {}", allowed);
}

BlockConfig Gpt2Config::block() const {
  BlockConfig block = mlp;
  block.input_dim = block.output_dim = width;
  block.gemm = gemm;
  block.gradients_in_place = true;
  return block;
}

void Gpt2Config::validate_sharding(const Sharding& sharding) const {
  const auto tp = sharding.region();
  require(heads % tp.size() == 0,
          "tp = {}: heads = {} does not divide by it, and "
          "attention is cut by heads",
          tp.size(),
          heads);
  require(!tp.tokens_cut() || context % tp.size() == 0,
          "plan = sequence: cuts the tokens of a window, and "
          "context = {} does not divide by tp = {}; the plan "
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

PassCost Gpt2::cost(std::int64_t samples) const {
  const auto width = static_cast<double>(config_.width);
  const auto tokens = static_cast<double>(samples * config_.context);
  const double ranks = tp_.size();
  const double rows = tokens / (tp_.tokens_cut() ? ranks : 1);
  const auto element = static_cast<double>(token_embedding_.element_size());
  const auto wide = static_cast<double>(norm_weight_.element_size());
  const std::int64_t vocabulary = token_embedding_.size(0);  // of this rank
  const double head = tokens * width * static_cast<double>(vocabulary);
  // The embedding and the head.
  PassCost sum{
      .flops = 6 * tokens * width * static_cast<double>(config_.vocab),
      .rank_flops = 6 * head,
      // dh and dW; x and statistics of the last norm; positions
      .kept_bytes = tokens * width * element +
                    static_cast<double>(vocabulary) * width * wide +
                    rows * ((width + 2) * wide + sizeof(std::int64_t))};
  if (ranks > 1) {
    // What the embedding adds up, what enters the head, two numbers in fp64.
    sum.tp_bytes = tokens * (2 * width * element + ranks * sizeof(double));
    const std::int64_t chunk = cross_entropy_chunk(vocabulary);
    sum.tp_operations =
        tp_.exchanges() + (samples * config_.context + chunk - 1) / chunk;
    // Which ids are this rank's, and their rows.
    sum.kept_bytes += tokens * (sizeof(std::int64_t) + sizeof(bool));
  }
  for (const Layer& layer : layers_) {
    sum += layer.attention.cost(samples, config_.context);
    sum.kept_bytes += rows * (width + 2) * wide;  // of its norm
    if (const auto* dense = std::get_if<DenseMlp>(&layer.mlp)) {
      sum += dense->cost(tokens, wide);
    } else {
      sum += block_cost(std::get<MuMoEBlock>(layer.mlp), tokens, wide);
    }
  }
  return sum;
}

std::string Gpt2::describe() const {
  const Gpt2Config& c = config_;
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

namespace {

/// Columns of the head beyond which a product is as fast as one of all.
constexpr std::int64_t kMostColumns = 4096;

/// The products of one layer with its experts', input and output factors.
void add_layer(std::vector<Product>& products,
               const LayerShape& layer,
               std::int64_t tokens) {
  for (const FactorSpec& f : factor_specs(layer)) {
    const std::int64_t columns = f.columns(layer);
    const std::int64_t summed = f.dims[0].in(layer);
    if (f.role == Role::expert || f.role == Role::input) {
      products.push_back({tokens, summed, columns});
    } else if (f.role == Role::output) {
      products.push_back({tokens, columns, summed});
    }
  }
}

}  // namespace

std::vector<Product> Gpt2::products(std::int64_t samples) const {
  const Gpt2Config& c = config_;
  const std::int64_t tokens = samples * c.context;
  std::vector<Product> products = {{tokens, c.width, 3 * c.width},
                                   {tokens, c.width, c.width}};
  if (c.dense) {
    products.push_back({tokens, c.width, c.mlp.hidden_dim});
    products.push_back({tokens, c.mlp.hidden_dim, c.width});
  } else {
    const BlockShape block = c.block().shape();
    for (const std::int64_t experts : block.experts) {
      products.push_back({tokens, block.input_dim, experts});
    }
    for (const LayerShape& layer : block.layers(c.mlp.ranks)) {
      add_layer(products, layer, tokens);
    }
  }
  products.push_back({tokens, c.width, std::min(c.vocab, kMostColumns)});
  return products;
}

}  // namespace mumoe::model
