#include "model/gpt2_config.h"

#include <algorithm>

#include "base/error.h"

namespace mumoe::model {
namespace {

std::vector<std::int64_t>& mlp_ranks(ModelConfig& config) {
  return config.mlp.ranks;
}

}  // namespace

void validate_gpt2_shape(const ModelConfig& c) {
  require_extent("depth", c.depth);
  require_extent("heads", c.heads);
  require_extent("width", c.width);
  require_extent("context", c.context);
  require_extent("vocab", c.vocab);
  require_extent("mlp.hidden_dim", c.mlp.hidden_dim);
  require(c.width % c.heads == 0,
          "heads = {}: width = {} does not divide by it, but by {}",
          c.heads,
          c.width,
          largest_divisor(c.width, c.heads));
  require(c.dropout >= 0 && c.dropout < 1,
          "dropout = {}: expected 0 to below 1",
          c.dropout);
  if (c.dense) return;
  require(c.mlp.gate.norm != GateNorm::batch,
          "mlp.gate.norm = batch: GPT-2 has layer and none, since statistics "
          "over tokens would mix positions");
  require_mixtures(c, {c.block()});
}

void validate_gpt2(const ModelConfig& config) {
  validate_gpt2_shape(config);
  if (!config.dense) require_ranks("mlp.ranks", config.block());
}

void validate_gpt2_sharding(const ModelConfig& config,
                            const Sharding& sharding,
                            std::int64_t /*micro_batch*/) {
  const auto tp = sharding.region();
  require(config.heads % tp.size() == 0,
          "tp = {}: heads = {} does not divide by it, and "
          "attention is cut by heads",
          tp.size(),
          config.heads);
  require(!tp.tokens_cut() || config.context % tp.size() == 0,
          "plan = sequence: cuts the tokens of a window, and "
          "context = {} does not divide by tp = {}; the plan "
          "bottleneck does not cut tokens",
          config.context,
          tp.size());
}

std::vector<MlpKind> gpt2_mlps(const ModelConfig& config) {
  return {{.name = "",
           .ranks_member = "mlp.ranks",
           .ranks = mlp_ranks,
           .block = config.block(),
           .tokens = config.context,
           .blocks = config.depth,
           .dense = config.dense,
           .bias = config.bias}};
}

Workspace gpt2_workspace(const ModelConfig& config) {
  const auto width = static_cast<double>(config.width);
  const auto vocab = static_cast<double>(config.vocab);
  const auto tokens = static_cast<double>(config.context);
  const auto hidden = static_cast<double>(config.mlp.hidden_dim);
  return {.widest = tokens * std::max(hidden, 3 * width),
          .logits = tokens * vocab,
          .embeddings = vocab * width};
}

}  // namespace mumoe::model
