#include "model/mixer_config.h"

#include <algorithm>

#include "base/error.h"

namespace mumoe::model {
namespace {

std::vector<std::int64_t>& token_ranks(ModelConfig& config) {
  return config.token_ranks;
}

std::vector<std::int64_t>& channel_ranks(ModelConfig& config) {
  return config.mlp.ranks;
}

}  // namespace

void validate_mixer_shape(const ModelConfig& c) {
  require_extent("depth", c.depth);
  require_extent("width", c.width);
  require_extent("mlp.hidden_dim", c.mlp.hidden_dim);
  require_extent("token_hidden", c.token_hidden);
  require_images(c);
  if (c.dense) return;
  std::vector<BlockConfig> blocks;
  for (const MlpKind& kind : mixer_mlps(c)) blocks.push_back(kind.block);
  require_mixtures(c, blocks);
}

void validate_mixer(const ModelConfig& config) {
  validate_mixer_shape(config);
  if (config.dense) return;
  for (const MlpKind& kind : mixer_mlps(config)) {
    require_ranks(kind.ranks_member, kind.block);
  }
}

void validate_mixer_sharding(const ModelConfig& /*config*/,
                             const Sharding& sharding,
                             std::int64_t micro_batch) {
  require_whole_samples("a Mixer", sharding.region(), micro_batch);
}

std::vector<MlpKind> mixer_mlps(const ModelConfig& config) {
  BlockConfig channels = config.block();
  // Its blocks are not computed again as a whole.
  channels.recompute =
      config.mlp.recompute || config.recompute != Recompute::none;
  channels.input_layer_norm = false;
  BlockConfig tokens = channels;
  tokens.input_dim = tokens.output_dim = config.patches();
  tokens.hidden_dim = config.token_hidden;
  tokens.ranks = config.token_ranks;
  return {{.name = "token ",
           .ranks_member = "token_ranks",
           .ranks = token_ranks,
           .block = tokens,
           .tokens = config.width,
           .blocks = config.depth,
           .dense = config.dense,
           .bias = config.bias},
          {.name = "channel ",
           .ranks_member = "mlp.ranks",
           .ranks = channel_ranks,
           .block = channels,
           .tokens = config.patches(),
           .blocks = config.depth,
           .dense = config.dense,
           .bias = config.bias}};
}

Workspace mixer_workspace(const ModelConfig& config) {
  std::int64_t widest =
      config.patches() * config.patch * config.patch * config.channels;
  for (const MlpKind& kind : mixer_mlps(config)) {
    widest = std::max(widest, kind.tokens * kind.block.hidden_dim);
  }
  return {.widest = static_cast<double>(widest),
          .logits = static_cast<double>(config.classes),
          .embeddings = 0};
}

}  // namespace mumoe::model
