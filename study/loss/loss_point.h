#pragma once

#include <cmath>
#include <cstdint>
#include <string>

namespace mumoe::study {

/// Where one run of a loss study ended: a model of one size, trained on so many
/// tokens, its learning rate brought down to the end.
struct LossPoint {
  std::string model;           ///< Its name in the study.
  std::string form;            ///< dense, cp, tr, ...
  double parameters = 0;       ///< Trained ones, embeddings left out: N.
  double tokens = 0;           ///< Seen in training: D.
  double flops_per_token = 0;  ///< Forward and backward.
  std::int64_t seed = 0;
  double loss = 0;  ///< Of the validation set, nats a token.

  /// FLOPs of its training: C.
  double flops() const { return flops_per_token * tokens; }
  /// Whether it came to a loss at all.
  bool has_loss() const { return std::isfinite(loss); }
};

}  // namespace mumoe::study
