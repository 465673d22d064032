#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "model/classification.h"
#include "model/classifier.h"
#include "model/config.h"
#include "model/families.h"
#include "model/head.h"

namespace mumoe::model {

/// A head alone, on features that something else made of images: what the
/// paper's studies of fine-tuned models look at, with the rest frozen.
///
/// Under the plan `sequence` each rank holds whole samples.
class HeadModel final : public Classifier {
 public:
  /// Registers the parameters of `Head` under head. . `batch_group`: as of
  /// `Family::make`. Throws `InputError` naming the member that does not fit.
  HeadModel(const ModelConfig& config,
            dist::ParameterRegistry& registry,
            const Sharding& sharding = {},
            dist::Communicator* batch_group = nullptr);

  /// The cross-entropy of smoothed targets: input fp32 [B, features], target
  /// int64 [B, 1], or [B, classes] whose rows are shares of the classes. Throws
  /// `InputError` under the plan `sequence` for samples that do not divide by
  /// the tp group.
  at::Tensor loss(const Batch& batch, double scale) const override;
  /// As of `Mixer`.
  Score score(const Batch& batch) const override;
  /// Of features [B, features].
  at::Tensor logits(const at::Tensor& features) const override;
  at::Tensor features(const at::Tensor& features) const override;
  std::span<const MuMoEBlock* const> mixtures() const override {
    return mixtures_;
  }
  std::span<MuMoEBlock* const> blocks() override { return blocks_; }
  PassCost cost(std::int64_t samples, at::Device device) const override;
  std::vector<Product> products(std::int64_t samples) const override;
  std::string describe() const override;
  std::int64_t classes() const override { return config_.classes; }
  at::Device device() const override { return head_.device(); }

  const ModelConfig& config() const { return config_; }

 private:
  /// Logits of features, those of this rank.
  at::Tensor own_logits(const at::Tensor& features) const;

  ModelConfig config_;
  dist::TensorParallel tp_;
  SampleParts parts_;
  Head head_;
  std::vector<MuMoEBlock*> blocks_;
  std::vector<const MuMoEBlock*> mixtures_;
};

// What a head alone asks of its configuration; model/families.h says what each
// is for.

void validate_head_model_shape(const ModelConfig& config);
void validate_head_model(const ModelConfig& config);
/// Under the plan `sequence` micro-batches are cut by whole samples.
void validate_head_model_sharding(const ModelConfig& config,
                                  const Sharding& sharding,
                                  std::int64_t micro_batch);
std::vector<MlpKind> head_model_mlps(const ModelConfig& config);
Workspace head_model_workspace(const ModelConfig& config);

}  // namespace mumoe::model
