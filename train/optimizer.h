#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/params/flat_buckets.h"

namespace mumoe::train {

struct OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  /// Decoupled decay of parameters registered with `decay`.
  double weight_decay = 0.1;
  /// Whether norms and other biases decay too, beside the tensors with two or
  /// more dims. Taken up by the parameter registry.
  bool decay_vectors = false;
  /// Largest 2-norm of the gradient; longer ones are scaled to it. 0: never.
  double clip = 1.0;

  /// Throws `InputError` naming the key and what it must be.
  void validate() const;
};

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
  AdamW(const OptimizerConfig& config, dist::FlatBuckets& buckets);

  /// One update with the gradients in the buckets times `grad_scale`. The new
  /// weights of sharded buckets are on their way when it returns: see
  /// `FlatBuckets::await`. Collective over the groups of those.
  void step(double lr, double grad_scale);

  /// Updates done so far; bias correction depends on it.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  /// In the order of the buckets.
  const std::vector<Moments>& moments() const { return moments_; }

 private:
  OptimizerConfig config_;
  dist::FlatBuckets& buckets_;
  std::vector<Moments> moments_;
  std::int64_t steps_ = 0;
};

/// The factor that makes a gradient of norm `norm` at most `clip` long (1 when
/// `clip` is 0 or the gradient is shorter).
double clip_factor(double norm, double clip);

}  // namespace mumoe::train
