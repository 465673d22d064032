#include "mumoe/block.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace mumoe {

using dist::Initializer;

BlockShape BlockConfig::shape() const {
  return {.form = form,
          .input_dim = input_dim,
          .hidden_dim = hidden_dim,
          .output_dim = output_dim,
          .experts = experts,
          .expert_bias = expert_bias,
          .input_layer_norm = input_layer_norm};
}

void BlockConfig::validate() const {
  for (const LayerShape& layer : shape().layers(ranks)) layer.validate();
  require(level_noise >= 0, "level noise {}: expected 0 or more", level_noise);
  for (const std::int64_t n : experts) gate.validate(n);
}

MuMoEBlock::MuMoEBlock(BlockConfig config,
                       const std::string& prefix,
                       dist::ParameterRegistry& registry,
                       dist::Communicator* batch_group)
    : config_(std::move(config)) {
  config_.validate();
  const auto statistics =
      at::TensorOptions(registry.master_dtype()).device(registry.device());
  for (std::size_t e = 0; e < config_.experts.size(); ++e) {
    gates_.push_back(
        registry.add({.name = fmt::format("{}gate.{}", prefix, e),
                      .global_shape = {config_.input_dim, config_.experts[e]},
                      .placement = {},
                      .decay = true,
                      .init = Initializer::constant(0)}));
    if (config_.gate.norm != GateNorm::batch) continue;
    statistics_.push_back(
        {.running_mean = at::zeros({config_.experts[e]}, statistics),
         .running_var = at::ones({config_.experts[e]}, statistics),
         .group = batch_group});
  }
  if (config_.input_layer_norm) {
    const auto add = [&](const char* name, double value) {
      return registry.add({.name = prefix + name,
                           .global_shape = {config_.input_dim},
                           .placement = {},
                           .decay = false,
                           .init = Initializer::constant(value),
                           .full_precision = true});
    };
    norm_.weight = add("input_ln.weight", 1);
    norm_.bias = add("input_ln.bias", 0);
  }
  const auto shapes = config_.shape().layers(config_.ranks);
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    layers_.push_back(add_factors(shapes[l],
                                  config_.level_noise,
                                  fmt::format("{}layer{}.", prefix, l + 1),
                                  registry,
                                  cut_of(l, shapes.size())));
  }
  scales_.resize(config_.experts.size());
}

LayerCut MuMoEBlock::cut_of(std::size_t layer, std::size_t layers) const {
  if (config_.sharding.region().size() == 1) return LayerCut::none;
  return layer_cut(config_.sharding.plan, layer, layers);
}

at::Tensor MuMoEBlock::forward(const at::Tensor& x) const {
  std::vector<at::Tensor> unused;
  return forward(x, unused);
}

at::Tensor MuMoEBlock::forward(const at::Tensor& x,
                               std::vector<at::Tensor>& coefficients) const {
  MUMOE_CHECK(x.size(-1) == config_.input_dim,
              "input {}, expected last dim {}",
              x.sizes(),
              config_.input_dim);
  const at::Tensor x_TI = x.reshape({-1, config_.input_dim});
  const std::vector<at::Tensor> a = edited(run_gates(x_TI, /*training=*/true));
  const at::Tensor y_TO = mixture(
      a,
      x_TI,
      norm_,
      layers_,
      {.gemm = config_.gemm,
       .mixing = config_.mixing,
       .support_only = config_.gate.activation != GateActivation::softmax,
       .recompute = config_.recompute,
       .gradients_in_place = config_.gradients_in_place,
       .sharding = config_.sharding,
       .report = &last_mixing_});
  coefficients.clear();
  for (const auto& level : a) coefficients.push_back(level.detach());
  auto shape = x.sizes().vec();
  shape.back() = y_TO.size(1);
  return y_TO.view(shape);
}

std::vector<at::Tensor> MuMoEBlock::coefficients(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  return run_gates(x, /*training=*/false);
}

std::vector<at::Tensor> MuMoEBlock::run_gates(const at::Tensor& x,
                                              bool training) const {
  std::vector<at::Tensor> a;
  for (std::size_t e = 0; e < gates_.size(); ++e) {
    BatchStatistics level;
    if (!statistics_.empty()) {
      // The tensors are shared: running statistics are updated where they are.
      level = statistics_[e];
      level.training = level.training && training;
    }
    a.push_back(gate(x,
                     gates_[e],
                     config_.gate,
                     config_.gemm,
                     statistics_.empty() ? nullptr : &level));
  }
  return a;
}

void MuMoEBlock::set_training(bool training) {
  for (auto& level : statistics_) level.training = training;
}

Expert MuMoEBlock::materialize(std::size_t layer,
                               const std::vector<std::int64_t>& indices) const {
  require(layer < layers_.size(),
          "layer {}: the block has {}",
          layer,
          layers_.size());
  require(cut_of(layer, layers_.size()) == LayerCut::none,
          "layer {}: ranks hold slices of its factors; a run on one "
          "tensor-parallel rank holds all of them",
          layer);
  return mumoe::materialize(layers_[layer], indices);
}

at::Tensor& MuMoEBlock::scale_of(std::size_t level, std::int64_t expert) {
  require(level < scales_.size(),
          "level {}: the block has {}",
          level,
          scales_.size());
  require(expert >= 0 && expert < config_.experts[level],
          "expert {} of level {}: expected 0 to {}",
          expert,
          level,
          config_.experts[level] - 1);
  at::Tensor& scale = scales_[level];
  if (!scale.defined()) {
    scale = at::ones({config_.experts[level]}, gates_[level].options());
  }
  return scale;
}

void MuMoEBlock::scale_expert(std::size_t level,
                              std::int64_t expert,
                              double factor) {
  scale_of(level, expert)[expert].mul_(factor);
}

void MuMoEBlock::remove_expert(std::size_t level, std::int64_t expert) {
  scale_of(level, expert)[expert].fill_(0);
}

void MuMoEBlock::keep_experts(std::size_t level,
                              const std::vector<std::int64_t>& experts) {
  at::Tensor kept = at::zeros_like(scale_of(level, 0));
  for (const std::int64_t n : experts) {
    const at::Tensor& scale = scale_of(level, n);  // refuses a wrong n first
    kept[n].copy_(scale[n]);
  }
  scales_[level] = kept;
}

void MuMoEBlock::clear_edits() {
  for (auto& scale : scales_) scale.reset();
}

std::vector<at::Tensor> MuMoEBlock::edited(std::vector<at::Tensor> a) const {
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (scales_[e].defined()) a[e] = a[e] * scales_[e];
  }
  return a;
}

std::int64_t MuMoEBlock::parameter_count(const BlockConfig& c) {
  return mumoe::parameter_count(c.shape(), c.ranks);
}

std::int64_t MuMoEBlock::macs_per_token(const BlockConfig& c) {
  return mumoe::macs_per_token(c.shape(), c.ranks);
}

}  // namespace mumoe
