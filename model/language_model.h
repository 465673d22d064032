#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/key_value_cache.h"
#include "model/model.h"

namespace mumoe::model {

class DenseMlp;

/// A model of sequences of tokens, as whoever generates text knows it.
class LanguageModel : public Model {
 public:
  /// Logits [B, V] of the token after the last of `tokens` [B, T] int64, T ≤
  /// `context()`, on `device()`, without gradients. Collective over the tp
  /// group.
  virtual at::Tensor next_logits(const at::Tensor& tokens) const = 0;
  /// Room for what it has seen of `samples` sequences of `context()` tokens.
  virtual KeyValueCache cache(std::int64_t samples) const = 0;
  /// The same of more tokens of the sequences in `cache`, which takes them: of
  /// `tokens` [B, T] the first `counts[b]` (at least 1) of sequence b; what is
  /// behind them fills up the batch and is not looked at. Together with those
  /// held, T ≤ `context()`. Token for token what `next_logits` gives of the
  /// whole sequences, up to rounding. Collective over the tp group.
  virtual at::Tensor next_logits(const at::Tensor& tokens,
                                 std::span<const std::int64_t> counts,
                                 KeyValueCache& cache) const = 0;
  /// The loss of each target by itself, nats: [B, T] fp64 on `device()`,
  /// without gradients. What stands behind a token does not change its loss, so
  /// rows may be padded at their end. Collective over the tp group.
  virtual at::Tensor token_losses(const Batch& batch) const = 0;
  /// Its dense MLPs, front to back; none where there are mixtures. Each can be
  /// looked at (`DenseMlp::watch`).
  virtual std::vector<const DenseMlp*> dense_mlps() const { return {}; }
  /// Tokens that it sees at most.
  virtual std::int64_t context() const = 0;
  virtual at::Device device() const = 0;
};

}  // namespace mumoe::model
