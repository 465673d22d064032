#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "mumoe/block.h"
#include "mumoe/gemm.h"

namespace mumoe::model {

/// What backward computes again instead of keeping it from forward.
enum class Recompute {
  none,
  mixture,     ///< GELU's input in each mixture.
  everything,  ///< GPT-2: each block, of which only the input is kept.
};

/// GELU of dense MLPs: x Φ(x), or its approximation by tanh, 0.5 x (1 +
/// tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks and Gimpel, arXiv 1606.08415, 2),
/// with which the weights of GPT-2 were published; or by the logistic function,
/// x σ(1.702 x) (the same, 2), with which those of CLIP were.
enum class Gelu { exact, tanh, quick };

/// What leads to the classes of a head or a ViT.
enum class HeadKind {
  linear,
  high_rank,  ///< Two linear layers with nothing between.
  mixture,    ///< A μMoE layer.
};

/// The shape of a model: what all families share, and what one of them alone
/// has. A family says what its own shape must be (model/families.h); what
/// others have, it does not look at. All counts are positive.
struct ModelConfig {
  std::int64_t depth = 12;
  /// GPT-2, ViT: attention heads, of which `width` is a multiple.
  std::int64_t heads = 12;
  std::int64_t width = 768;
  /// GPT-2: tokens of a window.
  std::int64_t context = 1024;
  /// GPT-2: rows of the embedding, the tokenizer's vocabulary or more.
  std::int64_t vocab = 50304;
  /// Biases of attention, other linear layers, dense MLPs and layer norms.
  bool bias = false;
  /// What a block has as its MLPs: dense ones, or mixtures.
  bool dense = false;
  /// Of dense MLPs; mixtures have the exact one.
  Gelu gelu = Gelu::exact;
  /// Its MLP: a dense one of `mlp.hidden_dim`, or the mixture `mlp`, whose
  /// input and output dims are `width`, its sharding and library the model's.
  /// Mixer: the one that mixes channels; that of tokens differs in its dims and
  /// ranks.
  BlockConfig mlp = {.hidden_dim = 3072, .experts = {256}, .ranks = {556}};
  /// Who multiplies; does not change what is computed.
  GemmLibrary gemm = preferred_gemm_library();
  /// Does not change what is computed.
  Recompute recompute = Recompute::none;
  /// GPT-2: probability with which an element is dropped in training: of the
  /// embedding, of attention's probabilities, and of what attention and MLPs
  /// give (`Dropout`).
  double dropout = 0;
  /// Of what is drawn in training.
  std::uint64_t seed = 0;

  /// Heads and ViTs: what leads to the classes. A mixture is of the form
  /// `head_form`, and otherwise what `mlp` says but for its dims.
  HeadKind head = HeadKind::linear;
  Form head_form = Form::cp;
  /// Parameters of a head whose ranks follow from them; 0: as a linear one.
  std::int64_t head_parameters = 0;
  /// Heads: numbers of a sample.
  std::int64_t features = 768;

  /// Mixer, ViT: images of `channels` x `image_size`^2, a multiple of `patch`.
  std::int64_t patch = 16;
  std::int64_t image_size = 224;
  std::int64_t channels = 3;
  std::int64_t classes = 1000;
  /// Mixer: hidden width of what mixes tokens, and the ranks of its mixture.
  std::int64_t token_hidden = 256;
  std::vector<std::int64_t> token_ranks = {147};
  /// Mixer, ViT: the share of samples that skip the sublayers of the last block
  /// in training; it grows from 0 in the first.
  double stochastic_depth = 0;
  /// Of images: the part of a target that all classes share.
  double label_smoothing = 0;
  /// ViT: a layer norm of what enters the first block, as CLIP has it, whose
  /// patches have no bias then.
  bool norm_pre = false;
  /// ViT: what norms add to variances.
  double norm_epsilon = 1e-5;
  /// ViT: all but the head keeps its weights.
  bool frozen = false;

  /// The MLP as configs name it: dense, or the mixture's form.
  std::string_view mlp_name() const;
  /// Throws `InputError`: the names that there are.
  void set_mlp(std::string_view name);
  /// The head as configs name it: linear, high_rank, or the mixture's form.
  std::string_view head_name() const;
  /// Throws `InputError`: the names that there are.
  void set_head(std::string_view name);
  /// The mixture `mlp`, complete but for its sharding.
  BlockConfig block() const;
  /// Tokens that are made of an image.
  std::int64_t patches() const {
    return (image_size / patch) * (image_size / patch);
  }
};

// What families check with. All throw `InputError` naming the member.

/// 1 to 2^24.
void require_extent(const char* member, std::int64_t value);
/// What all families ask of the mixtures `blocks`, but for their ranks.
void require_mixtures(const ModelConfig& config,
                      const std::vector<BlockConfig>& blocks);
/// Of a mixture with ranks, which stand in `member`.
void require_ranks(const char* member, const BlockConfig& block);
/// What families that learn from images ask of their sizes.
void require_images(const ModelConfig& config);
/// Whether `tp` may cut the tokens of `model` ("a ViT") by whole samples.
void require_whole_samples(const char* model,
                           const dist::TensorParallel& tp,
                           std::int64_t micro_batch);
/// Of `number`, not above `most`.
std::int64_t largest_divisor(std::int64_t number, std::int64_t most);

}  // namespace mumoe::model
