// Shapes: B samples (of this rank), F features, K classes.
#include "model/head_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::model {

using at::Tensor;

namespace {

const ModelConfig& valid(const ModelConfig& config) {
  validate_head_model(config);
  return config;
}

}  // namespace

HeadModel::HeadModel(const ModelConfig& config,
                     dist::ParameterRegistry& registry,
                     const Sharding& sharding,
                     dist::Communicator* batch_group)
    : config_(valid(config)),
      tp_(sharding.region()),
      parts_(tp_),
      head_(head_shape(config_, config_.features),
            "head.",
            registry,
            sharding,
            batch_group) {
  if (MuMoEBlock* block = head_.block()) {
    blocks_.push_back(block);
    mixtures_.push_back(block);
  }
}

Tensor HeadModel::own_logits(const Tensor& features_BF) const {
  MUMOE_CHECK(features_BF.dim() == 2 && features_BF.size(1) == config_.features,
              "features {}, expected {} a sample",
              features_BF.sizes(),
              config_.features);
  return head_.forward(features_BF);
}

Tensor HeadModel::loss(const Batch& batch, double scale) const {
  const Tensor logits_BK = own_logits(parts_.own(batch.input));
  return parts_.sum(
      class_loss(logits_BK, parts_.own(batch.target), config_.label_smoothing) *
      scale);
}

Tensor HeadModel::logits(const Tensor& features) const {
  const at::NoGradGuard no_grad;
  const Evaluation evaluation(blocks_);
  return parts_.all(own_logits(parts_.own_padded(features)), features.size(0));
}

Tensor HeadModel::features(const Tensor& features) const {
  return features.to(head_.wide());
}

Score HeadModel::score(const Batch& batch) const {
  const at::NoGradGuard no_grad;
  return class_score(logits(batch.input), batch.target);
}

PassCost HeadModel::cost(std::int64_t samples, at::Device device) const {
  // Whole samples a rank; of fewer, their part of that.
  const std::int64_t ranks = tp_.tokens_cut() ? tp_.size() : 1;
  const std::int64_t all = (samples + ranks - 1) / ranks * ranks;
  PassCost sum = head_.cost(all, /*into_features=*/false, device);
  if (tp_.tokens_cut()) {
    // The ranks' losses, in the logits' type; what is gathered counts half.
    sum.tp_bytes += static_cast<double>(ranks) *
                    static_cast<double>(c10::elementSize(head_.wide())) / 2;
    sum.tp_operations += 1;
  }
  const double part = static_cast<double>(samples) / static_cast<double>(all);
  for (double* total : {&sum.flops,
                        &sum.rank_flops,
                        &sum.repeated_flops,
                        &sum.tp_bytes,
                        &sum.kept_bytes}) {
    *total *= part;
  }
  return sum;
}

std::vector<Product> HeadModel::products(std::int64_t samples) const {
  std::vector<Product> products;
  head_.add_products(products, samples);
  return products;
}

std::string HeadModel::describe() const {
  return fmt::format("{} for {} classes on {} features",
                     head_.describe(),
                     config_.classes,
                     config_.features);
}

void validate_head_model_shape(const ModelConfig& config) {
  require_extent("features", config.features);
  require(config.label_smoothing >= 0 && config.label_smoothing < 1,
          "label_smoothing = {}: expected at least 0 and less than 1",
          config.label_smoothing);
  validate_head_shape(config, config.features);
}

void validate_head_model(const ModelConfig& config) {
  validate_head_model_shape(config);
  validate_head(config, config.features);
}

void validate_head_model_sharding(const ModelConfig& /*config*/,
                                  const Sharding& sharding,
                                  std::int64_t micro_batch) {
  const auto tp = sharding.region();
  require(!tp.tokens_cut() || micro_batch % tp.size() == 0,
          "micro_batch = {}: plan = sequence cuts the samples of a head, and "
          "these do not divide by tp = {}; the plan bottleneck does not cut "
          "samples",
          micro_batch,
          tp.size());
}

std::vector<MlpKind> head_model_mlps(const ModelConfig& config) {
  return {head_mlp(config, config.features, "")};
}

Workspace head_model_workspace(const ModelConfig& config) {
  return {
      .widest = static_cast<double>(std::max(config.features, config.classes)),
      .logits = static_cast<double>(config.classes),
      .embeddings = 0};
}

}  // namespace mumoe::model
