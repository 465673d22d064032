#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "model/classifier.h"
#include "model/config.h"
#include "model/dense_mlp.h"
#include "model/stochastic_depth.h"
#include "mumoe/block.h"

namespace mumoe::model {

/// MLP-Mixer (Tolstikhin et al., arXiv 2105.01601) whose MLPs may be μMoE
/// blocks, of which gates and experts see the same norm:
///   x ← x + token(LN(x)ᵀ)ᵀ,  x ← x + channel(LN(x)),
/// patches first made tokens by one linear layer, last normed, averaged and led
/// to classes by another. The residual stream and the norms are in fp32 (fp64
/// for fp64), what is multiplied is in the compute dtype.
///
/// Of a tp group, what mixes channels is cut by the plan; what mixes tokens is
/// whole. Under `sequence` each rank holds whole samples, and everything but
/// what mixes channels is computed for these alone.
class Mixer final : public Classifier {
 public:
  /// Registers all parameters, front to back: stem.weight, stem.bias, of each
  /// block K hK.token_norm., h.K.token., h.K.channel_norm., h.K.channel., then
  /// norm. and head. `batch_group`: as of `Family::make`. Throws `InputError`
  /// naming the member that does not fit. `registry` must outlive it.
  Mixer(const ModelConfig& config,
        dist::ParameterRegistry& registry,
        const Sharding& sharding = {},
        dist::Communicator* batch_group = nullptr);

  /// The cross-entropy of smoothed targets. Input as of `logits`; target int64
  /// [B, 1], or [B, classes] whose rows are shares of the classes. Stochastic
  /// depth if the batch has `ids`. Throws `InputError` under the plan
  /// `sequence` for samples that do not divide by the tp group.
  at::Tensor loss(const Batch& batch, double scale) const override;
  /// By the running statistics, of targets that are not smoothed; of shares,
  /// the largest is the right class.
  Score score(const Batch& batch) const override;
  at::Tensor logits(const at::Tensor& images) const override;
  at::Tensor features(const at::Tensor& images) const override;
  bool awaits_weights() const override { return true; }
  std::span<const MuMoEBlock* const> mixtures() const override {
    return mixtures_;
  }
  std::span<MuMoEBlock* const> blocks() override { return blocks_; }
  PassCost cost(std::int64_t samples, at::Device device) const override;
  std::vector<Product> products(std::int64_t samples) const override;
  std::string describe() const override;
  std::int64_t classes() const override { return config_.classes; }
  at::Device device() const override { return stem_.device(); }

  const ModelConfig& config() const { return config_; }

 private:
  using Mlp = std::variant<DenseMlp, MuMoEBlock>;
  struct Norm {
    at::Tensor weight;
    at::Tensor bias;
  };
  struct Layer {
    /// Its parameters: indices into the registry.
    std::size_t first;
    std::size_t last;
    Norm token_norm;
    Mlp token;
    Norm channel_norm;
    Mlp channel;
  };

  Norm add_norm(const std::string& name);
  Layer add_layer(std::int64_t index, const Sharding& sharding);
  /// What the head sees of `images`, those of this rank, and its logits.
  at::Tensor own_features(const at::Tensor& images,
                          const StochasticDepth& depth) const;
  at::Tensor own_logits(const at::Tensor& images,
                        const StochasticDepth& depth) const;

  ModelConfig config_;
  dist::ParameterRegistry& registry_;
  dist::TensorParallel tp_;
  dist::Communicator* batch_group_;
  at::Tensor stem_;
  at::Tensor stem_bias_;
  std::vector<Layer> layers_;
  std::vector<MuMoEBlock*> blocks_;  ///< Those in `layers_`.
  std::vector<const MuMoEBlock*> mixtures_;
  Norm norm_;
  at::Tensor head_;
  at::Tensor head_bias_;
};

}  // namespace mumoe::model
