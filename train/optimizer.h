#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/params/flat_buckets.h"
#include "run/optimizer_state.h"
#include "run/train_config.h"

namespace mumoe::train {

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) over flat buckets, one fused
/// pass over what this rank owns of each: reads the gradient, updates both
/// moments and the master, and rounds the compute weights.
class AdamW {
 public:
  /// The moments of one bucket, in dtype and shape of its master; undefined for
  /// buffers.
  struct Moments {
    at::Tensor first;
    at::Tensor second;
  };

  /// `buckets` must outlive the optimizer. Moments start at zero.
  AdamW(const run::OptimizerConfig& config, dist::FlatBuckets& buckets);

  /// One update with the gradients in the buckets times `grad_scale`. The new
  /// weights of sharded buckets are on their way when it returns: see
  /// `FlatBuckets::await`. Collective over the groups of those.
  void step(double lr, double grad_scale);

  /// Updates done so far; bias correction depends on it.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  /// In the order of the buckets.
  const std::vector<Moments>& moments() const { return moments_; }
  /// The moments as checkpoints have them; of the same storage.
  run::OptimizerState state() const;

 private:
  run::OptimizerConfig config_;
  dist::FlatBuckets& buckets_;
  std::vector<Moments> moments_;
  std::int64_t steps_ = 0;
};

/// The factor that makes a gradient of norm `norm` at most `clip` long (1 when
/// `clip` is 0 or the gradient is shorter).
double clip_factor(double norm, double clip);

}  // namespace mumoe::train
