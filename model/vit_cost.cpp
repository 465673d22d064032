#include <ATen/core/Tensor.h>

#include "model/cost.h"
#include "model/vit.h"
#include "model/vit_config.h"

namespace mumoe::model {
namespace {

/// What a part of a frozen backbone costs: forward alone, and nothing kept.
void leave_out_backward(PassCost& cost,
                        double forward_bytes,
                        std::int64_t forward_operations) {
  cost.flops /= 3;
  cost.rank_flops /= 3;
  cost.repeated_flops = 0;
  cost.tp_bytes = forward_bytes;
  cost.tp_operations = forward_operations;
  cost.kept_bytes = 0;
}

}  // namespace

PassCost Vit::layer_cost(const Layer& layer,
                         std::int64_t own_samples,
                         at::Device device) const {
  const std::int64_t samples = own_samples * sample_ranks();
  const std::int64_t rows = samples * tokens();
  const auto own_rows = static_cast<double>(own_samples * tokens());
  const auto width = static_cast<double>(config_.width);
  PassCost cost = layer.attention.cost(samples, tokens());
  double forward_bytes = cost.tp_bytes / 2;
  std::int64_t forward_operations = cost.tp_operations / 2;
  if (const auto* dense = std::get_if<DenseMlp>(&layer.mlp)) {
    const PassCost mlp = dense->cost(rows, 0);
    forward_bytes += mlp.tp_bytes / 2;
    forward_operations += mlp.tp_operations / 2;
    cost += mlp;
  } else {
    const auto& block = std::get<MuMoEBlock>(layer.mlp);
    const PlanCost a_token = plan_cost_of(block);
    forward_bytes += static_cast<double>(rows) * a_token.forward_elements *
                     static_cast<double>(stem_.element_size());
    forward_operations += a_token.forward_operations;
    cost += block_cost(block, rows, stem_.scalar_type(), device);
  }
  // Its two norms' inputs.
  cost.kept_bytes += 2 * own_rows * (width + 2) *
                     static_cast<double>(norm_.weight.element_size());
  if (config_.frozen) {
    leave_out_backward(cost, forward_bytes, forward_operations);
  }
  return cost;
}

PassCost Vit::backbone_cost(std::int64_t own_samples, at::Device device) const {
  const auto own = static_cast<double>(own_samples);
  const auto width = static_cast<double>(config_.width);
  const auto wide = static_cast<double>(norm_.weight.element_size());
  const auto pixels = static_cast<double>(config_.patches() * stem_.size(1));
  const double norm = (width + 2) * wide;
  // Images have no gradient. Patches, the norm before the blocks, and that of
  // the class.
  PassCost sum{
      .rank_flops = own * 4 * pixels * width,
      .kept_bytes =
          own * (pixels * static_cast<double>(stem_.element_size()) + norm)};
  if (config_.norm_pre) {
    sum.kept_bytes += own * static_cast<double>(tokens()) * norm;
  }
  if (config_.frozen) sum = {.rank_flops = sum.rank_flops / 2};
  sum.flops = sum.rank_flops * static_cast<double>(sample_ranks());
  for (const Layer& layer : layers_) {
    sum += layer_cost(layer, own_samples, device);
  }
  return sum;
}

PassCost Vit::cost(std::int64_t samples, at::Device device) const {
  // Whole samples a rank; of fewer, their part of that.
  const std::int64_t ranks = sample_ranks();
  const std::int64_t own = (samples + ranks - 1) / ranks;
  PassCost sum = backbone_cost(own, device);
  sum += head_->cost(own * ranks, /*into_features=*/!config_.frozen, device);
  if (tp_.tokens_cut()) {
    // The ranks' losses; what is gathered counts half.
    sum.tp_bytes += static_cast<double>(ranks) *
                    static_cast<double>(norm_.weight.element_size()) / 2;
    sum.tp_operations += 1;
  }
  const double part =
      static_cast<double>(samples) / static_cast<double>(own * ranks);
  for (double* total : {&sum.flops,
                        &sum.rank_flops,
                        &sum.repeated_flops,
                        &sum.tp_bytes,
                        &sum.kept_bytes}) {
    *total *= part;
  }
  return sum;
}

std::vector<Product> Vit::products(std::int64_t samples) const {
  const ModelConfig& c = config_;
  const std::int64_t rows = samples * tokens();
  const auto depth = static_cast<double>(c.depth);
  std::vector<Product> products = {
      {samples * c.patches(), stem_.size(1), c.width},
      {rows, c.width, 3 * c.width, depth},
      {rows, c.width, c.width, depth}};
  if (c.dense) {
    products.push_back({rows, c.width, c.mlp.hidden_dim, depth});
    products.push_back({rows, c.mlp.hidden_dim, c.width, depth});
  } else {
    add_products(products, vit_mlps(c)[0].block, rows, c.depth);
  }
  head_->add_products(products, samples);
  return products;
}

}  // namespace mumoe::model
