#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "model/attention.h"
#include "model/classification.h"
#include "model/classifier.h"
#include "model/config.h"
#include "model/dense_mlp.h"
#include "model/head.h"
#include "model/stochastic_depth.h"
#include "mumoe/block.h"

namespace mumoe::model {

/// Vision transformer (Dosovitskiy et al., arXiv 2010.11929) as CLIP (Radford
/// et al., arXiv 2103.00020) and DINO (Caron et al., arXiv 2104.14294) publish
/// it: patches made tokens by one linear layer, before them the token of the
/// class, all with learnt positions, then
///   x ← x + attention(LN(x)),  x ← x + mlp(LN(x)),
/// where every token sees all. Its features are the class's token, normed, of
/// which `Head` makes classes. CLIP's has a norm before the blocks and no bias
/// of patches. MLPs may be μMoE blocks, of which gates and experts see the same
/// norm. The residual stream and the norms are in fp32 (fp64 for fp64), what is
/// multiplied is in the compute dtype.
///
/// With `ModelConfig::frozen` all but the head keeps its weights: it has no
/// gradients and no optimizer state, and nothing of its forward pass is kept.
/// Batch norms of its gates use their running statistics.
///
/// Of a tp group, attention is cut by heads, MLPs by the plan; under `sequence`
/// each rank holds whole samples.
class Vit final : public Classifier {
 public:
  /// Registers all parameters, front to back: class_token [C], positions
  /// [P + 1, C], stem.weight, stem.bias, norm_pre., of each block K
  /// blocks.K.norm1., .attn., .norm2., .mlp., then norm. and head. .
  /// `batch_group`: as of `Family::make`. Throws `InputError` naming the member
  /// that does not fit. `registry` must outlive it.
  Vit(const ModelConfig& config,
      dist::ParameterRegistry& registry,
      const Sharding& sharding = {},
      dist::Communicator* batch_group = nullptr);

  /// As of `Mixer`.
  at::Tensor loss(const Batch& batch, double scale) const override;
  Score score(const Batch& batch) const override;
  at::Tensor logits(const at::Tensor& images) const override;
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

  /// What the head sees of `images` (as of `logits`), [B, C] in the compute
  /// dtype; without gradients and as in evaluation. The same on all tp ranks.
  /// Collective over the tp group.
  at::Tensor features(const at::Tensor& images) const override;

  const ModelConfig& config() const { return config_; }

 private:
  struct Norm {
    at::Tensor weight;
    at::Tensor bias;
  };
  struct Layer {
    /// Its parameters: indices into the registry.
    std::size_t first;
    std::size_t last;
    Norm norm1;
    Attention attention;
    Norm norm2;
    std::variant<DenseMlp, MuMoEBlock> mlp;
  };

  void add_front();
  Norm add_norm(const std::string& name);
  Layer add_layer(std::int64_t index,
                  const Sharding& sharding,
                  dist::Communicator* batch_group);
  /// The first block's input, [b · T, C].
  at::Tensor embed_images(const at::Tensor& images) const;
  /// Features of `images`, those of this rank.
  at::Tensor own_features(const at::Tensor& images,
                          const StochasticDepth& depth) const;
  at::Tensor own_logits(const at::Tensor& images,
                        const StochasticDepth& depth) const;
  /// What the backbone costs for so many whole samples of each rank.
  PassCost backbone_cost(std::int64_t own_samples, at::Device device) const;
  PassCost layer_cost(const Layer& layer,
                      std::int64_t own_samples,
                      at::Device device) const;
  std::int64_t tokens() const { return config_.patches() + 1; }
  /// That hold whole samples of their own.
  std::int64_t sample_ranks() const {
    return tp_.tokens_cut() ? tp_.size() : 1;
  }

  ModelConfig config_;
  dist::ParameterRegistry& registry_;
  dist::TensorParallel tp_;
  SampleParts parts_;
  at::Tensor class_token_;
  at::Tensor positions_;
  at::Tensor stem_;
  at::Tensor stem_bias_;
  Norm norm_pre_;
  std::vector<Layer> layers_;
  Norm norm_;
  std::size_t backbone_end_ = 0;  ///< In the registry.
  std::optional<Head> head_;
  std::vector<MuMoEBlock*> blocks_;            ///< Of layers and head.
  std::span<MuMoEBlock* const> trained_ = {};  ///< Those that are not frozen.
  std::vector<const MuMoEBlock*> mixtures_;
};

}  // namespace mumoe::model
