#include "mumoe/block.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"
#include "dist/torch_text.h"
#include "mumoe/kernels/kernel_watch.h"

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

BlockConfig with_parameters(BlockConfig config, std::int64_t parameters) {
  require(parameters >= 0,
          "{} parameters: expected 1 or more, or 0 for as many as a dense MLP",
          parameters);
  require(config.ranks.empty(),
          "ranks: {} are given; expected none where parameters choose them "
          "(match_ranks takes inner ranks)",
          config.ranks.size());
  const std::int64_t budget =
      parameters > 0 ? parameters
                     : dense_mlp_parameters(config.input_dim,
                                            config.hidden_dim,
                                            config.output_dim,
                                            /*bias=*/true,
                                            config.input_layer_norm);
  config.ranks = match_ranks(config.shape(), {.budget = budget});
  return config;
}

MuMoEBlock::MuMoEBlock(BlockConfig config,
                       const std::string& prefix,
                       dist::ParameterRegistry& registry,
                       dist::Communicator* batch_group)
    : config_(std::move(config)),
      prefix_(prefix),
      given_(registry.given()),
      first_(registry.parameters().size()) {
  config_.validate();
  for (std::size_t e = 0; e < config_.experts.size(); ++e) {
    gates_.push_back(
        registry.add({.name = fmt::format("{}gate.{}", prefix, e),
                      .global_shape = {config_.input_dim, config_.experts[e]},
                      .placement = {},
                      .decay = true,
                      .init = Initializer::constant(0)}));
    const auto buffer = [&](const std::string& name, double value) {
      return registry.add({.name = prefix + name,
                           .global_shape = {config_.experts[e]},
                           .placement = {},
                           .decay = false,
                           .init = Initializer::constant(value),
                           .full_precision = true,
                           .trained = false});
    };
    scales_.push_back(config_.edits_registered
                          ? buffer(fmt::format("edits.{}", e), 1)
                          : at::Tensor());
    if (config_.gate.norm != GateNorm::batch) continue;
    const std::string norm = fmt::format("gate_norm.{}.", e);
    statistics_.push_back({.running_mean = buffer(norm + "running_mean", 0),
                           .running_var = buffer(norm + "running_var", 1),
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
  last_ = registry.parameters().size();
}

LayerCut MuMoEBlock::cut_of(std::size_t layer, std::size_t layers) const {
  if (config_.sharding.region().size() == 1) return LayerCut::none;
  return layer_cut(config_.sharding.plan, layer, layers);
}

at::Tensor MuMoEBlock::forward(const at::Tensor& x) const {
  std::vector<at::Tensor> unused;
  return forward(x, unused);
}

std::string MuMoEBlock::require_values() const {
  const std::string name = prefix_.empty() ? "the block" : prefix_;
  dist::require_given(*given_, first_, last_, name);
  return name;
}

at::Tensor MuMoEBlock::rows_of(const at::Tensor& x) const {
  const std::string name = require_values();
  require(x.defined() && x.dim() > 0 && x.size(-1) == config_.input_dim,
          "{}: input of shape {}, expected its last dim to be {}",
          name,
          x.defined() ? x.sizes() : at::IntArrayRef(),
          config_.input_dim);
  const auto type = x.scalar_type();
  require(type == at::kFloat || type == at::kDouble || type == at::kBFloat16,
          "{}: input of dtype {}, expected fp32, fp64 or bf16",
          name,
          type);
  require(x.device() == gates_[0].device(),
          "{}: input on {}, expected it where the block is, on {}",
          name,
          x.device(),
          gates_[0].device());
  return x.reshape({-1, config_.input_dim});
}

namespace {

/// rows [T, K] as [..., K], the leading dims those of x.
at::Tensor shaped_like(const at::Tensor& x, const at::Tensor& rows) {
  auto shape = x.sizes().vec();
  shape.back() = rows.size(1);
  return rows.view(shape);
}

}  // namespace

at::Tensor MuMoEBlock::forward(const at::Tensor& x,
                               std::vector<at::Tensor>& coefficients) const {
  const at::Tensor x_TI = rows_of(x);
  const at::Tensor y_TO = mix(x_TI, x_TI, norm_, coefficients);
  for (at::Tensor& level : coefficients) level = shaped_like(x, level);
  return shaped_like(x, y_TO);
}

at::Tensor MuMoEBlock::forward_normed(const at::Tensor& x,
                                      const at::Tensor& z) const {
  const at::Tensor x_TI = rows_of(x), z_TI = rows_of(z);
  std::vector<at::Tensor> unused;
  return mix(x_TI, z_TI, {}, unused);
}

at::Tensor MuMoEBlock::mix(const at::Tensor& x_TI,
                           const at::Tensor& in_TI,
                           const InputNorm& norm,
                           std::vector<at::Tensor>& coefficients) const {
  const std::vector<at::Tensor> a = edited(run_gates(x_TI, /*training=*/true));
  const bool told =
      config_.mixing == Mixing::automatic && kernels::like_gpu(x_TI.device());
  const at::Tensor y_TO = mixture(
      a,
      in_TI,
      norm,
      layers_,
      {.gemm = config_.gemm,
       .mixing = told ? gpu_mixing_ : config_.mixing,
       .support_only = config_.gate.activation != GateActivation::softmax,
       .recompute = config_.recompute,
       .gradients_in_place = config_.gradients_in_place,
       .sharding = config_.sharding,
       .report = repeating_ ? nullptr : &last_mixing_});
  coefficients.clear();
  for (const auto& level : a) coefficients.push_back(level.detach());
  if (watcher_ && !repeating_) watcher_(coefficients);
  if (input_watcher_ && !repeating_) input_watcher_(in_TI.detach(), norm);
  return y_TO;
}

std::vector<at::Tensor> MuMoEBlock::coefficients(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> a = run_gates(rows_of(x), /*training=*/false);
  for (at::Tensor& level : a) level = shaped_like(x, level);
  return a;
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
  require_values();
  require(layer < layers_.size(),
          "layer {}: expected 0 to {}",
          layer,
          layers_.size() - 1);
  require(cut_of(layer, layers_.size()) == LayerCut::none,
          "layer {}: ranks hold slices of its factors; a run on one "
          "tensor-parallel rank holds all of them",
          layer);
  return mumoe::materialize(layers_[layer], indices);
}

at::Tensor& MuMoEBlock::scale_of(std::size_t level, std::int64_t expert) {
  require(level < scales_.size(),
          "level {}: expected 0 to {}",
          level,
          scales_.size() - 1);
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
  require(std::isfinite(factor),
          "expert {} of level {}: factor {}, expected a finite number",
          expert,
          level,
          factor);
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
  scales_[level].copy_(kept);
}

void MuMoEBlock::clear_edits() {
  for (auto& scale : scales_) {
    if (config_.edits_registered) {
      scale.fill_(1);
    } else {
      scale.reset();
    }
  }
}

std::vector<at::Tensor> MuMoEBlock::edits() const {
  std::vector<at::Tensor> all;
  for (const at::Tensor& scale : scales_) {
    all.push_back(scale.defined() ? scale.clone() : at::Tensor());
  }
  return all;
}

void MuMoEBlock::set_edits(const std::vector<at::Tensor>& edits) {
  MUMOE_CHECK(edits.size() == scales_.size(), "{} levels", edits.size());
  clear_edits();
  for (std::size_t level = 0; level < edits.size(); ++level) {
    if (edits[level].defined()) scale_of(level, 0).copy_(edits[level]);
  }
}

std::vector<at::Tensor> MuMoEBlock::edited(std::vector<at::Tensor> a) const {
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (!scales_[e].defined()) continue;
    a[e] = a[e] * scales_[e].to(a[e].scalar_type());
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
