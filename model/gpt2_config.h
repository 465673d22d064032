#pragma once

#include <cstdint>
#include <string_view>

#include "mumoe/block.h"
#include "mumoe/gemm.h"
#include "mumoe/sharding.h"

namespace mumoe::model {

/// What backward computes again instead of keeping it from forward.
enum class Recompute {
  none,
  mixture,     ///< GELU's input in each mixture.
  everything,  ///< Each block, of which only the input is kept.
};

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
  /// Probability with which an element is dropped in training: of the
  /// embedding, of attention's probabilities, and of what attention and MLPs
  /// give (`Dropout`); and the seed of the masks.
  double dropout = 0;
  std::uint64_t dropout_seed = 0;
  /// Does not change what is computed.
  Recompute recompute = Recompute::none;
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

}  // namespace mumoe::model
