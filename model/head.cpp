#include "model/head.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/error.h"
#include "model/cost.h"

namespace mumoe::model {

using at::Tensor;

namespace {

constexpr std::int64_t kMostParameters = std::int64_t{1} << 53;

std::vector<std::int64_t>& head_ranks(ModelConfig& config) {
  return config.mlp.ranks;
}

}  // namespace

HeadShape head_shape(const ModelConfig& config, std::int64_t features) {
  HeadShape shape{.kind = config.head,
                  .features = features,
                  .classes = config.classes,
                  .gemm = config.gemm};
  shape.hidden =
      high_rank_hidden(features,
                       config.classes,
                       config.head_parameters > 0
                           ? config.head_parameters
                           : linear_head_parameters(features, config.classes));
  shape.block = config.block();
  shape.block.form = config.head_form;
  shape.block.input_dim = features;
  shape.block.hidden_dim = config.classes;
  shape.block.output_dim = 0;
  shape.block.input_layer_norm = false;
  return shape;
}

std::int64_t linear_head_parameters(std::int64_t features,
                                    std::int64_t classes) {
  return dense_mlp_parameters(features, classes, 0, /*bias=*/true);
}

std::int64_t head_parameters(const HeadShape& shape) {
  switch (shape.kind) {
    case HeadKind::linear:
      break;
    case HeadKind::high_rank:
      return dense_mlp_parameters(shape.features,
                                  shape.hidden,
                                  shape.classes,
                                  /*bias=*/true);
    case HeadKind::mixture:
      return MuMoEBlock::parameter_count(shape.block);
  }
  return linear_head_parameters(shape.features, shape.classes);
}

std::int64_t high_rank_hidden(std::int64_t features,
                              std::int64_t classes,
                              std::int64_t parameters) {
  return (parameters - classes) / (features + 1 + classes);
}

MlpKind head_mlp(const ModelConfig& config,
                 std::int64_t features,
                 const char* name) {
  return {.name = name,
          .ranks_member = "mlp.ranks",
          .ranks = head_ranks,
          .block = head_shape(config, features).block,
          .tokens = 1,
          .blocks = 1,
          .dense = config.head != HeadKind::mixture,
          .bias = true,
          .parameters = config.head_parameters,
          .instead_of = "linear head"};
}

void validate_head_shape(const ModelConfig& c, std::int64_t features) {
  require_extent("classes", c.classes);
  require(c.head_parameters >= 0 && c.head_parameters <= kMostParameters,
          "head_parameters = {}: expected 0 (as many as a linear head) to 2^53",
          c.head_parameters);
  const HeadShape shape = head_shape(c, features);
  if (c.head == HeadKind::mixture) require_mixtures(c, {shape.block});
  if (c.head != HeadKind::high_rank) return;
  require(
      shape.hidden >= 1,
      "head_parameters = {}: head = high_rank of {} features and {} classes "
      "has {} parameters with a hidden size of 1; expected that or more",
      c.head_parameters,
      features,
      c.classes,
      dense_mlp_parameters(features, 1, c.classes, /*bias=*/true));
}

void validate_head(const ModelConfig& config, std::int64_t features) {
  validate_head_shape(config, features);
  if (config.head != HeadKind::mixture) return;
  require_ranks("mlp.ranks", head_shape(config, features).block);
}

Head::Head(const HeadShape& shape,
           const std::string& prefix,
           dist::ParameterRegistry& registry,
           const Sharding& sharding,
           dist::Communicator* batch_group)
    : shape_(shape), tp_(sharding.region()) {
  const auto add_linear = [&](const std::string& name,
                              std::int64_t outputs,
                              std::int64_t inputs) {
    const auto start =
        dist::Initializer::uniform(1 / std::sqrt(static_cast<double>(inputs)));
    Linear& linear = linears_.emplace_back();
    linear.weight = registry.add({.name = prefix + name + "weight",
                                  .global_shape = {outputs, inputs},
                                  .placement = {},
                                  .init = start});
    linear.bias = registry.add({.name = prefix + name + "bias",
                                .global_shape = {outputs},
                                .placement = {},
                                .decay = false,
                                .init = start});
  };
  switch (shape_.kind) {
    case HeadKind::linear:
      add_linear("", shape_.classes, shape_.features);
      return;
    case HeadKind::high_rank:
      add_linear("inner.", shape_.hidden, shape_.features);
      add_linear("outer.", shape_.classes, shape_.hidden);
      return;
    case HeadKind::mixture:
      shape_.block.sharding = sharding;
      block_.emplace(shape_.block, prefix, registry, batch_group);
  }
}

const Tensor& Head::first() const {
  return block_ ? block_->layers()[0].input : linears_[0].weight;
}

at::ScalarType Head::wide() const {
  return first().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

Tensor Head::forward(const Tensor& h_BF) const {
  Tensor y = h_BF.to(first().scalar_type());
  if (block_) return block_->forward(y).to(wide());
  for (const auto& [weight, bias] : linears_) {
    y = linear(y, weight, bias, shape_.gemm);
  }
  return y.to(wide());
}

double Head::feature_macs(bool own) const {
  if (!block_) return static_cast<double>(linears_[0].weight.numel());
  std::int64_t columns = 0;
  for (const std::int64_t experts : shape_.block.experts) columns += experts;
  const LayerShape layer = shape_.block.shape().layers(shape_.block.ranks)[0];
  std::int64_t of_factor = first().numel();
  if (!own) {
    for (const FactorSpec& f : factor_specs(layer)) {
      if (f.role == Role::input) of_factor = f.numel(layer);
    }
  }
  return static_cast<double>(shape_.features * columns + of_factor);
}

PassCost Head::cost(std::int64_t samples,
                    bool into_features,
                    at::Device device) const {
  const auto compute = first().scalar_type();
  const auto n = static_cast<double>(samples);
  const auto rows = static_cast<double>(tp_.rows(samples).count);
  const auto element = static_cast<double>(c10::elementSize(compute));
  PassCost sum;
  if (block_) {
    sum = block_cost(*block_, samples, compute, device);
  } else {
    for (const Linear& linear : linears_) {
      const auto macs = static_cast<double>(linear.weight.numel());
      const auto inputs = static_cast<double>(linear.weight.size(1));
      sum += {.flops = 6 * n * macs,
              .rank_flops = 6 * rows * macs,
              .kept_bytes = rows * inputs * element};
    }
  }
  if (!into_features) {
    sum.flops -= 2 * n * feature_macs(/*own=*/false);
    sum.rank_flops -= 2 * rows * feature_macs(/*own=*/true);
    // Nor is one summed over slices of the rank.
    const bool summed = block_ && tp_.size() > 1 &&
                        shape_.block.sharding.plan == Plan::rank &&
                        !block_->layers()[0].core.defined();
    if (summed) {
      sum.tp_bytes -= n * static_cast<double>(shape_.features) * element;
    }
  }
  sum.kept_bytes += rows * static_cast<double>(shape_.classes) *
                    static_cast<double>(c10::elementSize(wide()));
  return sum;
}

void Head::add_products(std::vector<Product>& products,
                        std::int64_t samples) const {
  if (block_) return model::add_products(products, shape_.block, samples, 1);
  for (const Linear& linear : linears_) {
    products.push_back({samples, linear.weight.size(1), linear.weight.size(0)});
  }
}

std::string Head::describe() const {
  switch (shape_.kind) {
    case HeadKind::linear:
      return "a linear head";
    case HeadKind::high_rank:
      return fmt::format("a head of two linear layers, {} between",
                         shape_.hidden);
    case HeadKind::mixture:
      break;
  }
  return fmt::format("a {} head of {} experts, rank {}",
                     to_string(shape_.block.form),
                     fmt::join(shape_.block.experts, " x "),
                     fmt::join(shape_.block.ranks, ", "));
}

}  // namespace mumoe::model
