#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "model/attention.h"
#include "model/dense_mlp.h"
#include "model/embedding.h"
#include "model/language_model.h"
#include "mumoe/block.h"

namespace mumoe::model {

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
  /// What a block has as its MLP: a dense one of `mlp.hidden_dim`, or the
  /// mixture `mlp`.
  bool dense = false;
  /// Its input and output dims are `width`, its sharding and library the
  /// model's.
  BlockConfig mlp = {.hidden_dim = 3072, .experts = {256}, .ranks = {556}};
  /// Who multiplies; does not change what is computed.
  GemmLibrary gemm = preferred_gemm_library();

  /// The MLP as configs name it: dense, or the mixture's form.
  std::string_view mlp_name() const;
  /// Throws `InputError`: the names that there are.
  void set_mlp(std::string_view name);
  /// Throws `InputError` naming the member (`width`) and what it must be.
  void validate() const;
  /// The same, but for the ranks, which may still have to be chosen.
  void validate_but_ranks() const;
  /// The mixture, complete but for its sharding.
  BlockConfig block() const;
  /// Throws `InputError` unless `sharding` can cut such a model.
  void validate_sharding(const Sharding& sharding) const;
};

/// GPT-2 (pre-norm, learnt positions, tied embedding and output head) whose
/// MLPs may be μMoE blocks. A block's gate sees the residual stream itself, its
/// experts see the layer norm of it. The residual stream and the norms are in
/// fp32 (fp64 for fp64), what is multiplied is in the compute dtype.
class Gpt2 final : public LanguageModel {
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
  PassCost cost(std::int64_t samples) const override;
  /// Those of one block, and the head's (of a large vocabulary a part), whole.
  std::vector<Product> products(std::int64_t samples) const override;
  std::string describe() const override;

  at::Tensor next_logits(const at::Tensor& tokens) const override;
  std::int64_t context() const override { return config_.context; }
  at::Device device() const override { return token_embedding_.device(); }

  const Gpt2Config& config() const { return config_; }

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

}  // namespace mumoe::model
