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
  require_extent("patch", c.patch);
  require_extent("image_size", c.image_size);
  require_extent("channels", c.channels);
  require_extent("classes", c.classes);
  require_extent("mlp.hidden_dim", c.mlp.hidden_dim);
  require_extent("token_hidden", c.token_hidden);
  require(c.image_size % c.patch == 0,
          "patch = {}: image_size = {} does not divide by it, but by {}",
          c.patch,
          c.image_size,
          largest_divisor(c.image_size, c.patch));
  const auto share = [](const char* member, double value) {
    require(value >= 0 && value < 1,
            "{} = {}: expected at least 0 and less than 1",
            member,
            value);
  };
  share("stochastic_depth", c.stochastic_depth);
  share("label_smoothing", c.label_smoothing);
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
  const auto tp = sharding.region();
  require(!tp.tokens_cut() || micro_batch % tp.size() == 0,
          "micro_batch = {}: plan = sequence cuts a Mixer's tokens by whole "
          "samples, and these do not divide by tp = {}; the plan bottleneck "
          "does not cut samples",
          micro_batch,
          tp.size());
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
           .tokens = config.width},
          {.name = "channel ",
           .ranks_member = "mlp.ranks",
           .ranks = channel_ranks,
           .block = channels,
           .tokens = config.patches()}};
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
