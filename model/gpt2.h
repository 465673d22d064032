#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "model/attention.h"
#include "model/config.h"
#include "model/dense_mlp.h"
#include "model/embedding.h"
#include "model/language_model.h"
#include "mumoe/block.h"

namespace mumoe::model {

/// GPT-2 (pre-norm, learnt positions, tied embedding and output head) whose
/// MLPs may be μMoE blocks. A block's gate sees the residual stream itself, its
/// experts see the layer norm of it. The residual stream and the norms are in
/// fp32 (fp64 for fp64), what is multiplied is in the compute dtype.
class Gpt2 final : public LanguageModel {
 public:
  /// Registers all parameters, front to back, cut as `sharding` says. Throws
  /// `InputError` when heads, or the tokens of a window under the plan
  /// `sequence`, do not divide by the tp group. `registry` must outlive it.
  Gpt2(const ModelConfig& config,
       dist::ParameterRegistry& registry,
       const Sharding& sharding = {});

  /// The cross-entropy of the next token. Input and target [B, T] int64, T ≤
  /// context.
  at::Tensor loss(const Batch& batch, double scale) const override;
  Score score(const Batch& batch) const override;
  bool awaits_weights() const override { return true; }
  std::span<const MuMoEBlock* const> mixtures() const override {
    return mixtures_;
  }
  std::span<MuMoEBlock* const> blocks() override { return blocks_; }
  PassCost cost(std::int64_t samples, at::Device device) const override;
  /// Those of one block, and the head's (of a large vocabulary a part), whole.
  std::vector<Product> products(std::int64_t samples) const override;
  std::string describe() const override;

  at::Tensor next_logits(const at::Tensor& tokens) const override;
  KeyValueCache cache(std::int64_t samples) const override;
  at::Tensor next_logits(const at::Tensor& tokens,
                         std::span<const std::int64_t> counts,
                         KeyValueCache& cache) const override;
  at::Tensor token_losses(const Batch& batch) const override;
  std::vector<const DenseMlp*> dense_mlps() const override;
  std::int64_t context() const override { return config_.context; }
  at::Device device() const override { return token_embedding_.device(); }

  const ModelConfig& config() const { return config_; }

 private:
  struct Layer {
    /// Its parameters: indices into the registry.
    std::size_t first;
    std::size_t last;
    at::Tensor norm_weight;
    at::Tensor norm_bias;
    Attention attention;
    std::variant<DenseMlp, MuMoEBlock> mlp;
  };

  /// What attention of layer l makes of its normalised input.
  using Attend =
      std::function<at::Tensor(std::size_t layer, const at::Tensor& normed)>;
  /// The final normalised hidden states of this rank's rows [rows, C] of
  /// `tokens` [N], which are at `positions` [rows].
  at::Tensor hidden(const at::Tensor& tokens,
                    const at::Tensor& positions,
                    const Attend& attend,
                    const Dropout& drop = {}) const;
  /// The same of whole sequences [B, T]: of the samples `ids` in training.
  at::Tensor hidden(const at::Tensor& tokens, const at::Tensor& ids) const;
  /// The stream `state` behind layer l; `again`: in backward.
  std::vector<at::Tensor> through(std::size_t l,
                                  const std::vector<at::Tensor>& state,
                                  const Attend& attend,
                                  const Dropout& drop,
                                  bool again) const;
  /// What one layer keeps and exchanges.
  PassCost layer_cost(const Layer& layer,
                      std::int64_t samples,
                      at::Device device) const;
  /// [B, C] on every rank → [B, V]
  at::Tensor logits(const at::Tensor& hidden) const;

  ModelConfig config_;
  const dist::ParameterRegistry& registry_;
  dist::TensorParallel tp_;
  Vocabulary vocabulary_;
  at::Tensor token_embedding_;
  at::Tensor position_embedding_;
  std::vector<Layer> layers_;
  std::vector<MuMoEBlock*> blocks_;  ///< Those in `layers_`.
  std::vector<const MuMoEBlock*> mixtures_;
  at::Tensor norm_weight_;
  at::Tensor norm_bias_;
};

}  // namespace mumoe::model
