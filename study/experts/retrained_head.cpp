#include "study/experts/retrained_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "model/classification.h"
#include "model/head.h"
#include "study/experts/fairness.h"
#include "train/parameter_layout.h"
#include "train/trainer.h"

namespace mumoe::study {
namespace {

using at::Tensor;

constexpr std::size_t kAtOnce = 1024;
constexpr std::int64_t kAdversaryHidden = 32;

std::vector<std::int32_t> classes_of(const data::Samples& samples) {
  std::vector<std::int32_t> classes;
  for (std::uint64_t first = 0; first < samples.size(); first += kAtOnce) {
    std::vector<std::uint64_t> indices(
        std::min<std::uint64_t>(kAtOnce, samples.size() - first));
    for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = first + i;
    const data::HostBatch batch = samples.make(indices);
    const auto& found = std::get<std::vector<std::int32_t>>(batch.target);
    classes.insert(classes.end(), found.begin(), found.end());
  }
  return classes;
}

/// A head, and beside it an adversary of one hidden layer.
class AdversarialHead final : public model::Classifier {
 public:
  AdversarialHead(const model::ModelConfig& config,
                  double adversary,
                  dist::ParameterRegistry& registry,
                  const Sharding& sharding,
                  dist::Communicator* batch_group)
      : config_(config),
        adversary_(adversary),
        head_(model::head_shape(config, config.features),
              "head.",
              registry,
              sharding,
              batch_group) {
    if (MuMoEBlock* block = head_.block()) {
      blocks_.push_back(block);
      mixtures_.push_back(block);
    }
    if (adversary_ == 0) return;
    const std::int64_t inputs = 2 * config.classes;
    const auto add = [&](const char* name,
                         std::vector<std::int64_t> shape,
                         std::int64_t fan_in) {
      return registry.add({.name = std::string("adversary.") + name,
                           .global_shape = std::move(shape),
                           .placement = {},
                           .init = dist::Initializer::uniform(
                               1 / std::sqrt(static_cast<double>(fan_in)))});
    };
    inner_ = add("inner", {kAdversaryHidden, inputs}, inputs);
    inner_bias_ = add("inner_bias", {kAdversaryHidden}, inputs);
    outer_ = add("outer", {1, kAdversaryHidden}, kAdversaryHidden);
    outer_bias_ = add("outer_bias", {1}, kAdversaryHidden);
  }

  Tensor loss(const model::Batch& batch, double scale) const override {
    const Tensor logits_BK = head_.forward(batch.input);
    const Tensor classes = batch.target.narrow(1, 0, 1);
    Tensor loss =
        model::class_loss(logits_BK, classes, config_.label_smoothing);
    if (adversary_ > 0) loss = loss + adversary_loss(logits_BK, batch.target);
    return loss * scale;
  }

  model::Score score(const model::Batch& batch) const override {
    return model::class_score(logits(batch.input),
                              batch.target.narrow(1, 0, 1));
  }
  Tensor logits(const Tensor& features) const override {
    const at::NoGradGuard no_grad;
    const model::Evaluation evaluation(blocks_);
    return head_.forward(features);
  }
  Tensor features(const Tensor& features) const override { return features; }
  std::span<const MuMoEBlock* const> mixtures() const override {
    return mixtures_;
  }
  std::span<MuMoEBlock* const> blocks() override { return blocks_; }
  model::PassCost cost(std::int64_t samples, at::Device device) const override {
    return head_.cost(samples, /*into_features=*/false, device);
  }
  std::vector<Product> products(std::int64_t samples) const override {
    std::vector<Product> products;
    head_.add_products(products, samples);
    return products;
  }
  std::string describe() const override { return head_.describe(); }
  std::int64_t classes() const override { return config_.classes; }
  at::Device device() const override { return head_.device(); }

 private:
  /// Its gradient goes down into the adversary, and up, `adversary_` times,
  /// into the head.
  Tensor adversary_loss(const Tensor& logits_BK, const Tensor& target) const {
    const Tensor reversed =
        logits_BK.detach() * (1 + adversary_) - logits_BK * adversary_;
    const Tensor classes = at::one_hot(target.select(1, 0), config_.classes)
                               .to(logits_BK.scalar_type());
    const Tensor seen = at::cat({reversed, classes}, 1);
    const auto as = [&](const Tensor& weight) {
      return weight.to(logits_BK.scalar_type());
    };
    const Tensor hidden =
        at::relu(at::linear(seen, as(inner_), as(inner_bias_)));
    const Tensor said = at::linear(hidden, as(outer_), as(outer_bias_));
    return at::binary_cross_entropy_with_logits(
        said.flatten(),
        target.select(1, 1).to(logits_BK.scalar_type()),
        {},
        {},
        at::Reduction::Sum);
  }

  model::ModelConfig config_;
  double adversary_;
  model::Head head_;
  std::vector<MuMoEBlock*> blocks_;
  std::vector<const MuMoEBlock*> mixtures_;
  Tensor inner_, inner_bias_, outer_, outer_bias_;
};

run::TrainerConfig trainer_config(const run::Options& recipe,
                                  std::int64_t steps) {
  run::TrainerConfig config;
  config.steps = steps;
  config.batch = recipe.trainer.batch;
  config.seed = recipe.trainer.seed;
  config.checkpoint_last = false;
  config.checkpoint_minutes = 0;
  config.experts_every = 0;
  return config;
}

run::ScheduleConfig schedule_of(const run::Options& recipe,
                                std::int64_t steps) {
  run::ScheduleConfig schedule = recipe.schedule;
  schedule.steps = steps;
  schedule.warmup = std::clamp<std::int64_t>(schedule.warmup, 0, steps / 2);
  schedule.decay = std::min(schedule.decay, steps - schedule.warmup);
  return schedule;
}

}  // namespace

GroupedSamples::GroupedSamples(const data::Samples& samples,
                               std::vector<std::uint8_t> groups,
                               std::int64_t target,
                               bool even)
    : samples_(samples), groups_(std::move(groups)) {
  MUMOE_CHECK(groups_.size() == samples.size(), "{} groups", groups_.size());
  if (!even) {
    items_.resize(samples.size());
    for (std::size_t i = 0; i < items_.size(); ++i) items_[i] = i;
    return;
  }
  const auto classes = classes_of(samples);
  std::array<std::vector<std::uint64_t>, 4> of_pair;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const Subgroup pair{classes[i] == target, groups_[i] != 0};
    of_pair[pair.place()].push_back(i);
  }
  std::size_t most = 0;
  for (const auto& pair : of_pair) most = std::max(most, pair.size());
  for (std::size_t i = 0; i < most; ++i) {
    for (const auto& pair : of_pair) {
      if (!pair.empty()) items_.push_back(pair[i % pair.size()]);
    }
  }
}

data::HostBatch GroupedSamples::make(
    std::span<const std::uint64_t> indices) const {
  std::vector<std::uint64_t> items;
  for (const std::uint64_t index : indices) {
    items.push_back(items_[index % items_.size()]);
  }
  data::HostBatch batch = samples_.make(items);
  const auto& classes = std::get<std::vector<std::int32_t>>(batch.target);
  std::vector<std::int32_t> both;
  for (std::size_t i = 0; i < items.size(); ++i) {
    both.push_back(classes[i]);
    both.push_back(groups_[items[i]]);
  }
  batch.target = std::move(both);
  return batch;
}

struct RetrainedHead::Parts {
  Parts(const run::Options& recipe,
        double adversary,
        dist::ProcessMesh& mesh,
        at::ScalarType dtype,
        at::Device device)
      : sharding{Plan::bottleneck, &mesh.tp()},
        registry(mesh.tp(),
                 dtype,
                 device,
                 /*decay_all=*/false,
                 train::row_multiple(device)),
        model(recipe.model,
              adversary,
              registry,
              sharding,
              train::batch_group(mesh, sharding)),
        buckets(registry, mesh, train::bucket_options({}, sharding, device)) {}

  Sharding sharding;
  dist::ParameterRegistry registry;
  AdversarialHead model;
  dist::FlatBuckets buckets;
};

RetrainedHead::RetrainedHead(const run::Options& recipe,
                             std::int64_t steps,
                             const data::Samples& train,
                             const std::vector<std::uint8_t>& groups,
                             const Retraining& how,
                             dist::ProcessMesh& mesh,
                             at::ScalarType dtype,
                             at::Device device)
    : parts_(
          std::make_unique<Parts>(recipe, how.adversary, mesh, dtype, device)) {
  const GroupedSamples samples(train, groups, how.target, how.oversample);
  parts_->buckets.initialise(recipe.trainer.seed);
  train::Trainer trainer(
      trainer_config(recipe, steps),
      schedule_of(recipe, steps),
      recipe.optimizer,
      {mesh, parts_->model, parts_->buckets, samples, samples});
  while (trainer.state().step < steps) trainer.step();
  parts_->buckets.await();
}

RetrainedHead::~RetrainedHead() = default;

const model::Classifier& RetrainedHead::model() const {
  return parts_->model;
}

}  // namespace mumoe::study
