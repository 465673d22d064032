#include "mumoe/block.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace mumoe {
namespace {

using dist::Initializer;

/// Adds up what each parameter of a block costs.
template <class CountLayer>
std::int64_t sum_over_layers(const BlockConfig& c, CountLayer count) {
  std::int64_t sum = count(c.input_dim, c.hidden_dim);
  if (c.output_dim > 0) sum += count(c.hidden_dim, c.output_dim);
  return sum;
}

std::int64_t all_experts(const BlockConfig& c) {
  return std::accumulate(c.experts.begin(), c.experts.end(), std::int64_t{0});
}

}  // namespace

MuMoEBlock::MuMoEBlock(BlockConfig config,
                       const std::string& prefix,
                       dist::ParameterRegistry& registry)
    : config_(std::move(config)) {
  MUMOE_CHECK(!config_.experts.empty() && config_.rank > 0);
  for (std::size_t e = 0; e < config_.experts.size(); ++e) {
    gates_.push_back(
        registry.add({.name = concat(prefix, "gate.", e),
                      .global_shape = {config_.input_dim, config_.experts[e]},
                      .placement = {},
                      .decay = true,
                      .init = Initializer::constant(0)}));
  }
  if (config_.input_layer_norm) {
    norm_weight_ = registry.add({.name = prefix + "input_ln.weight",
                                 .global_shape = {config_.input_dim},
                                 .placement = {},
                                 .decay = false,
                                 .init = Initializer::constant(1),
                                 .full_precision = true});
    norm_bias_ = registry.add({.name = prefix + "input_ln.bias",
                               .global_shape = {config_.input_dim},
                               .placement = {},
                               .decay = false,
                               .init = Initializer::constant(0),
                               .full_precision = true});
  }
  first_ = add_layer(prefix + "layer1.",
                     config_.input_dim,
                     config_.hidden_dim,
                     registry);
  if (config_.output_dim > 0) {
    second_ = add_layer(prefix + "layer2.",
                        config_.hidden_dim,
                        config_.output_dim,
                        registry);
  }
}

CpFactors MuMoEBlock::add_layer(const std::string& prefix,
                                std::int64_t inputs,
                                std::int64_t outputs,
                                dist::ParameterRegistry& registry) const {
  const std::int64_t rank = config_.rank;
  const auto add = [&](const std::string& name,
                       std::vector<std::int64_t> shape,
                       Initializer init) {
    return registry.add({.name = prefix + name,
                         .global_shape = std::move(shape),
                         .placement = {},
                         .decay = true,
                         .init = init});
  };
  CpFactors u;
  for (std::size_t e = 0; e < config_.experts.size(); ++e) {
    // All experts start near one linear layer: the first level varies around
    // one, further levels are exactly one (the authors' initialisation).
    u.expert.push_back(
        add(concat("expert.", e),
            {config_.experts[e], rank},
            e == 0 ? Initializer::normal(1, 1) : Initializer::constant(1)));
  }
  const auto from_inputs = Initializer::uniform(std::sqrt(1.0 / inputs));
  u.input = add("input", {inputs, rank}, from_inputs);
  if (config_.expert_bias)
    u.input_bias = add("input_bias", {rank}, from_inputs);
  u.output = add("output",
                 {outputs, rank},
                 Initializer::uniform(std::sqrt(1.0 / rank)));
  return u;
}

std::vector<at::Tensor> MuMoEBlock::coefficients(const at::Tensor& x) const {
  const at::Tensor rounded = x.to(gates_[0].scalar_type());
  std::vector<at::Tensor> a;
  for (const at::Tensor& gate : gates_) {
    a.push_back(
        gate_coefficients(at::mm(rounded, gate), {.norm = config_.gate_norm}));
  }
  return a;
}

at::Tensor MuMoEBlock::forward(const at::Tensor& x) const {
  MUMOE_CHECK(x.size(-1) == config_.input_dim,
              "input ",
              x.sizes(),
              ", expected last dim ",
              config_.input_dim);
  const at::Tensor x_TI = x.reshape({-1, config_.input_dim});
  const auto a = coefficients(x_TI);
  const auto dtype = gates_[0].scalar_type();
  const at::Tensor z_TI =
      (config_.input_layer_norm
           ? at::layer_norm(x_TI, {config_.input_dim}, norm_weight_, norm_bias_)
           : x_TI)
          .to(dtype);
  const at::Tensor y_TO = config_.output_dim > 0
                              ? cp_block(a, z_TI, first_, second_)
                              : cp_layer(a, z_TI, first_);
  auto shape = x.sizes().vec();
  shape.back() = y_TO.size(1);
  return y_TO.view(shape);
}

std::int64_t MuMoEBlock::parameter_count(const BlockConfig& c) {
  const std::int64_t gate = c.input_dim * all_experts(c);
  const std::int64_t norm = c.input_layer_norm ? 2 * c.input_dim : 0;
  return gate + norm +
         sum_over_layers(c, [&](std::int64_t in, std::int64_t out) {
           return c.rank * (all_experts(c) + in + c.expert_bias + out);
         });
}

std::int64_t MuMoEBlock::macs_per_token(const BlockConfig& c) {
  return c.input_dim * all_experts(c) +
         sum_over_layers(c, [&](std::int64_t in, std::int64_t out) {
           return c.rank * (all_experts(c) + in + c.expert_bias + out);
         });
}

}  // namespace mumoe
