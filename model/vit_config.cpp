#include "model/vit_config.h"

#include <algorithm>

#include "base/error.h"
#include "model/head.h"

namespace mumoe::model {
namespace {

std::vector<std::int64_t>& mlp_ranks(ModelConfig& config) {
  return config.mlp.ranks;
}

/// Patches, and the token of the class.
std::int64_t tokens_of(const ModelConfig& config) {
  return config.patches() + 1;
}

}  // namespace

void validate_vit_shape(const ModelConfig& c) {
  require_extent("depth", c.depth);
  require_extent("heads", c.heads);
  require_extent("width", c.width);
  require_extent("mlp.hidden_dim", c.mlp.hidden_dim);
  require_images(c);
  require(c.width % c.heads == 0,
          "heads = {}: width = {} does not divide by it, but by {}",
          c.heads,
          c.width,
          largest_divisor(c.width, c.heads));
  require(c.norm_epsilon > 0 && c.norm_epsilon < 1,
          "norm_epsilon = {}: expected more than 0 and less than 1",
          c.norm_epsilon);
  require(c.dense || c.head != HeadKind::mixture,
          "head = {}: mlp = {}, and ranks are those of one of them; expected "
          "head = linear or high_rank, or mlp = dense",
          c.head_name(),
          c.mlp_name());
  validate_head_shape(c, c.width);
  if (!c.dense) require_mixtures(c, {vit_mlps(c)[0].block});
}

void validate_vit(const ModelConfig& config) {
  validate_vit_shape(config);
  validate_head(config, config.width);
  if (!config.dense) require_ranks("mlp.ranks", vit_mlps(config)[0].block);
}

void validate_vit_sharding(const ModelConfig& config,
                           const Sharding& sharding,
                           std::int64_t micro_batch) {
  const auto tp = sharding.region();
  require(config.heads % tp.size() == 0,
          "tp = {}: heads = {} does not divide by it, and "
          "attention is cut by heads",
          tp.size(),
          config.heads);
  require_whole_samples("a ViT", tp, micro_batch);
}

std::vector<MlpKind> vit_mlps(const ModelConfig& config) {
  BlockConfig block = config.block();
  // Its blocks are not computed again as a whole.
  block.recompute = config.mlp.recompute || config.recompute != Recompute::none;
  block.input_layer_norm = false;
  std::vector<MlpKind> kinds = {{.name = "",
                                 .ranks_member = "mlp.ranks",
                                 .ranks = mlp_ranks,
                                 .block = block,
                                 .tokens = tokens_of(config),
                                 .blocks = config.depth,
                                 .dense = config.dense,
                                 .bias = config.bias}};
  if (config.head == HeadKind::mixture) {
    kinds.push_back(head_mlp(config, config.width, "head "));
  }
  return kinds;
}

Workspace vit_workspace(const ModelConfig& config) {
  const std::int64_t pixels =
      config.patches() * config.patch * config.patch * config.channels;
  const std::int64_t widest = std::max(config.mlp.hidden_dim, 3 * config.width);
  return {.widest =
              static_cast<double>(std::max(pixels, tokens_of(config) * widest)),
          .logits = static_cast<double>(config.classes),
          .embeddings = 0};
}

}  // namespace mumoe::model
