#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "model/attention.h"
#include "model/dense_mlp.h"
#include "model/embedding.h"
#include "model/model.h"
#include "mumoe/block.h"
#include "mumoe/gemm_rate.h"

namespace mumoe::model {

/// What a block has as its MLP: dense, or a μMoE of a form.
enum class MlpKind { dense, cp, tr, tt, tucker };

/// The shape of a GPT-2. All counts are positive; `width` is a multiple of
/// `heads`.
struct Gpt2Config {
  std::int64_t depth = 12;
  std::int64_t heads = 12;
  std::int64_t width = 768;
  std::int64_t context = 1024;
  /// Rows of the embedding: the tokenizer's vocabulary or more.
  std::int64_t vocab = 50304;
  /// Biases of attention, dense MLPs and layer norms.
  bool bias = false;
  MlpKind mlp = MlpKind::cp;
  /// Hidden width of the MLP or of the μMoE block.
  std::int64_t hidden = 3072;
  /// The rest concerns μMoE blocks.
  std::vector<std::int64_t> experts = {256};
  /// In the order of `LayerShape::ranks`.
  std::vector<std::int64_t> ranks = {556};
  GateConfig gate = {};
  bool expert_bias = true;
  /// σ of the second and further levels of experts (`BlockConfig`).
  double level_noise = 0;
  /// How to compute; none of these changes what is computed.
  GemmLibrary gemm = preferred_gemm_library();
  Mixing mixing = Mixing::automatic;
  bool recompute = false;

  /// Throws `InputError` naming the key (model.width …) and what it must be.
  void validate() const;
  /// The same, but for the ranks, which may still have to be chosen.
  void validate_but_ranks() const;
  BlockConfig block() const;
  /// Throws `InputError` unless `sharding` can cut such a model.
  void validate_sharding(const Sharding& sharding) const;
};

/// GPT-2 (pre-norm, learnt positions, tied embedding and output head) whose
/// MLPs may be μMoE blocks. A block's gate sees the residual stream itself, its
/// experts see the layer norm of it. The residual stream and the norms are in
/// fp32 (fp64 for fp64), what is multiplied is in the compute dtype.
class Gpt2 final : public Model {
 public:
  /// Registers all parameters, front to back, cut as `sharding` says. Throws
  /// `InputError` when heads, or the tokens of a window under the plan
  /// `sequence`, do not divide by the tp group. `registry` must outlive it.
  Gpt2(const Gpt2Config& config,
       dist::ParameterRegistry& registry,
       const Sharding& sharding = {});

  /// The cross-entropy of the next token. Input and target [B, T] int64, T ≤
  /// context.
  at::Tensor loss(const Batch& batch, double scale) const override;
  Score score(const Batch& batch) const override;
  std::span<const MuMoEBlock* const> mixtures() const override {
    return mixtures_;
  }
  double flops_per_sample() const override;

  /// Logits [B, V] of the token after the last of `tokens` [B, T]. Collective
  /// over the tp group.
  at::Tensor next_logits(const at::Tensor& tokens) const;

  const Gpt2Config& config() const { return config_; }
  at::Device device() const { return token_embedding_.device(); }

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

  /// The final normalised hidden states of this rank's tokens [rows, C].
  at::Tensor hidden(const at::Tensor& tokens) const;

  Gpt2Config config_;
  const dist::ParameterRegistry& registry_;
  dist::TensorParallel tp_;
  Vocabulary vocabulary_;
  at::Tensor token_embedding_;
  at::Tensor position_embedding_;
  std::vector<Layer> layers_;
  std::vector<const MuMoEBlock*> mixtures_;  ///< Those in `layers_`.
  at::Tensor norm_weight_;
  at::Tensor norm_bias_;
};

/// Floating-point operations of one training token (forward and backward), two
/// for a multiply-accumulate: 6 · (weights of all products, the tied head
/// counted once) + 12 · depth · width · context / 2 for causal attention.
double flops_per_token(const Gpt2Config& config);

/// The products of a forward pass over `tokens` tokens that take most of its
/// time: those of one block, and the head's (of a large vocabulary a part). For
/// measuring how fast a machine is at them.
std::vector<Product> main_products(const Gpt2Config& config,
                                   std::int64_t tokens);

}  // namespace mumoe::model
