#include "model/cost.h"

#include <ATen/core/Tensor.h>

#include "mumoe/norm.h"
#include "mumoe/plan_cost.h"

namespace mumoe::model {

Cost cost_of(const Model& model,
             const dist::BucketLayout& layout,
             std::int64_t micro_batch,
             at::Device device,
             dist::Wire wire) {
  return {.parameters = layout.parameters,
          .pass = model.cost(micro_batch, device),
          .bytes = dist::bytes_a_rank(layout),
          .step = dist::bytes_a_step(layout, wire)};
}

PlanCost plan_cost_of(const MuMoEBlock& block) {
  const BlockConfig& config = block.config();
  std::vector<LayerShape> stored;
  for (const Factors& layer : block.layers()) stored.push_back(layer.shape());
  return plan_cost(config.shape(),
                   config.ranks,
                   config.sharding.plan,
                   config.sharding.region().size(),
                   config.recompute,
                   stored);
}

PassCost block_cost(const MuMoEBlock& block,
                    std::int64_t tokens,
                    at::ScalarType input,
                    at::Device device) {
  const auto n = static_cast<double>(tokens);
  const BlockConfig& config = block.config();
  const dist::TensorParallel tp = config.sharding.region();
  const PlanCost a_token = plan_cost_of(block);
  const at::ScalarType compute = block.layers()[0].input.scalar_type();
  const auto element = static_cast<double>(c10::elementSize(compute));
  const auto rows = static_cast<double>(tp.rows(tokens).count);
  const auto width = static_cast<double>(config.input_dim);
  // x, and mean and deviation of its norm.
  double kept_input = (width + (config.input_layer_norm ? 2 : 0)) *
                      static_cast<double>(c10::elementSize(input));
  // The norm's result, and x as the gate takes it where that is another type;
  // else both are formed again.
  if (config.input_layer_norm &&
      fuses_residual_norm(device, input, compute, config.input_dim)) {
    kept_input += (input == compute ? 1 : 2) * width * element;
  }
  return {
      .flops = 6 * n * static_cast<double>(MuMoEBlock::macs_per_token(config)),
      .rank_flops = 6 * n * a_token.macs,
      .repeated_flops = 2 * n * a_token.repeated_macs,
      .tp_bytes = n * a_token.elements * element,
      .tp_operations = a_token.operations,
      .kept_bytes = n * a_token.kept * element + rows * kept_input};
}

void add_products(std::vector<Product>& products,
                  const BlockConfig& block,
                  std::int64_t tokens,
                  std::int64_t depth) {
  const auto times = static_cast<double>(depth);
  for (const std::int64_t experts : block.experts) {
    products.push_back({tokens, block.input_dim, experts, times});
  }
  for (const LayerShape& layer : block.shape().layers(block.ranks)) {
    for (const FactorSpec& f : factor_specs(layer)) {
      const std::int64_t columns = f.columns(layer);
      const std::int64_t summed = f.dims[0].in(layer);
      if (f.role == Role::expert || f.role == Role::input) {
        products.push_back({tokens, summed, columns, times});
      } else if (f.role == Role::output) {
        products.push_back({tokens, columns, summed, times});
      }
    }
  }
}

}  // namespace mumoe::model
