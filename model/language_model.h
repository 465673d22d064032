#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/model.h"

namespace mumoe::model {

/// A model of sequences of tokens, as whoever generates text knows it.
class LanguageModel : public Model {
 public:
  /// Logits [B, V] of the token after the last of `tokens` [B, T] int64, T ≤
  /// `context()`, on `device()`, without gradients. Collective over the tp
  /// group.
  virtual at::Tensor next_logits(const at::Tensor& tokens) const = 0;
  /// The loss of each target by itself, nats: [B, T] fp64 on `device()`,
  /// without gradients. What stands behind a token does not change its loss, so
  /// rows may be padded at their end. Collective over the tp group.
  virtual at::Tensor token_losses(const Batch& batch) const = 0;
  /// Tokens that it sees at most.
  virtual std::int64_t context() const = 0;
  virtual at::Device device() const = 0;
};

}  // namespace mumoe::model
