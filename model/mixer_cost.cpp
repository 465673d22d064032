#include <ATen/core/Tensor.h>

#include "model/cost.h"
#include "model/mixer.h"
#include "model/mixer_config.h"

namespace mumoe::model {
namespace {

PassCost mlp_cost(const DenseMlp& mlp,
                  std::int64_t tokens,
                  at::Device /*device*/) {
  return mlp.cost(tokens, 0);
}

PassCost mlp_cost(const MuMoEBlock& block,
                  std::int64_t tokens,
                  at::Device device) {
  return block_cost(block,
                    tokens,
                    block.layers()[0].input.scalar_type(),
                    device);
}

}  // namespace

PassCost Mixer::cost(std::int64_t samples, at::Device device) const {
  // Whole samples a rank; of fewer, their part of that.
  const std::int64_t ranks = tp_.tokens_cut() ? tp_.size() : 1;
  const std::int64_t own_samples = (samples + ranks - 1) / ranks;
  const std::int64_t all_samples = own_samples * ranks;
  const auto own = static_cast<double>(own_samples);
  const auto patches = static_cast<double>(config_.patches());
  const auto width = static_cast<double>(config_.width);
  const auto classes = static_cast<double>(config_.classes);
  const auto inputs = static_cast<double>(stem_.size(1));
  const auto element = static_cast<double>(stem_.element_size());
  const auto wide = static_cast<double>(norm_.weight.element_size());
  const double norm = own * patches * (width + 2) * wide;
  // What this rank computes for its own samples: the images have no gradient.
  PassCost sum{
      .rank_flops = own * width * (4 * patches * inputs + 6 * classes),
      // Patches; the last norm's input; what enters the head, and its softmax.
      .kept_bytes = own * (patches * inputs + width) * element + norm +
                    own * classes * wide};
  for (const Layer& layer : layers_) {
    sum += std::visit(
        [&](const auto& mlp) {
          return mlp_cost(mlp, own_samples * config_.width, device);
        },
        layer.token);
    sum.kept_bytes += 2 * norm;
  }
  sum.flops = sum.rank_flops * static_cast<double>(ranks);
  for (const Layer& layer : layers_) {
    sum += std::visit(
        [&](const auto& mlp) {
          return mlp_cost(mlp, all_samples * config_.patches(), device);
        },
        layer.channel);
  }
  if (tp_.tokens_cut()) {
    // The ranks' losses; what is gathered counts half.
    sum.tp_bytes += static_cast<double>(ranks) * wide / 2;
    sum.tp_operations += 1;
  }
  const double part =
      static_cast<double>(samples) / static_cast<double>(all_samples);
  for (double* total : {&sum.flops,
                        &sum.rank_flops,
                        &sum.repeated_flops,
                        &sum.tp_bytes,
                        &sum.kept_bytes}) {
    *total *= part;
  }
  return sum;
}

std::vector<Product> Mixer::products(std::int64_t samples) const {
  const ModelConfig& c = config_;
  const std::int64_t rows = samples * c.patches();
  std::vector<Product> products = {{rows, stem_.size(1), c.width}};
  for (const MlpKind& kind : mixer_mlps(c)) {
    const BlockConfig& block = kind.block;
    const std::int64_t tokens = samples * kind.tokens;
    if (c.dense) {
      const auto depth = static_cast<double>(c.depth);
      products.push_back({tokens, block.input_dim, block.hidden_dim, depth});
      products.push_back({tokens, block.hidden_dim, block.input_dim, depth});
    } else {
      add_products(products, block, tokens, c.depth);
    }
  }
  return products;
}

}  // namespace mumoe::model
