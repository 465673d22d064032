#pragma once

#include <cstdint>
#include <filesystem>

#include "dist/params/bucket_reduction.h"

// What the trainer, the optimizer and the schedule of train/ are told.

namespace mumoe::run {

/// What a trainer does when.
struct TrainerConfig {
  std::int64_t steps = 500;
  std::int64_t batch = 16;       ///< Samples a step, all ranks.
  std::int64_t micro_batch = 0;  ///< Samples a rank holds at once; 0: all.
  std::int64_t eval_every = 0;   ///< Steps; 0: only at the end.
  std::int64_t eval_windows = 256;
  std::int64_t checkpoint_every = 0;  ///< Steps; 0: not by steps.
  double checkpoint_minutes = 15;     ///< By rank 0's clock; 0: not by time.
  int checkpoint_keep = 2;
  bool checkpoint_best = false;  ///< That of the lowest validation loss too.
  std::int64_t log_every = 10;
  std::uint64_t seed = 0;
  dist::Wire wire = dist::Wire::fp32;  ///< Of gradients on their way.
  /// Run directory; empty: nothing is written.
  std::filesystem::path out;
  /// Rate of matrix products of all ranks, FLOP/s, for `mfu`, raised when a
  /// step beats it; 0: not known.
  double peak_flops = 0;

  /// Throws `InputError` naming the member and what it must be.
  void validate() const;
};

/// AdamW, and how gradients are clipped before it.
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

  /// Throws `InputError` naming the member and what it must be.
  void validate() const;
};

enum class ScheduleKind { cosine, linear, constant };

/// How the learning rate goes with the steps.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::cosine;
  /// The highest rate, reached at the end of the warm-up.
  double lr = 1e-3;
  double min_lr = 0;
  /// Steps of linear growth: step s has lr · (s + 1) / warmup.
  std::int64_t warmup = 0;
  /// Step at which `min_lr` is reached; later steps stay there.
  std::int64_t steps = 1;

  /// Throws `InputError` naming the member and what it must be.
  void validate() const;
};

}  // namespace mumoe::run
