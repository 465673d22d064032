#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "dist/params/bucket_reduction.h"

// What the trainer, the optimizer and the schedule of train/ are told.

namespace mumoe::run {

/// What is done about a step whose loss or gradient norm is not finite, or far
/// above those before it: the run ends; the update is left out; or the run goes
/// back to its last checkpoint and leaves out the samples from there up to this
/// step.
enum class BadStep { stop, skip, rewind };

/// What a run does when a checkpoint cannot be written.
enum class SaveFailure { proceed, stop };

/// What a trainer does when.
struct TrainerConfig {
  std::int64_t steps = 500;
  std::int64_t batch = 16;       ///< Samples a step, all ranks.
  std::int64_t micro_batch = 0;  ///< Samples a rank holds at once; 0: all.
  std::int64_t eval_every = 0;   ///< Steps; 0: only at the end.
  std::int64_t eval_windows = 256;
  std::int64_t checkpoint_every = 0;  ///< Steps; 0: not by steps.
  double checkpoint_minutes = 15;     ///< By rank 0's clock; 0: not by time.
  bool checkpoint_last = true;        ///< One at the end of the run.
  int checkpoint_keep = 2;
  bool checkpoint_best = false;  ///< That of the lowest validation loss too.
  /// Whether checkpoints are written behind the steps that follow, from a copy.
  bool checkpoint_async = false;
  /// Files of how many ranks may be lost (run/parity.h): none or one.
  int checkpoint_parity = 0;
  SaveFailure checkpoint_failure = SaveFailure::proceed;
  BadStep bad_step = BadStep::stop;
  /// A finite loss or norm is a spike when it lies more than so many robust
  /// standard deviations above the median of the last `spike_window` steps; 0:
  /// never.
  double spike = 0;
  std::int64_t spike_window = 128;
  /// Of the run's own time, after which it saves and stops; 0: no limit.
  double max_minutes = 0;
  std::int64_t log_every = 10;
  /// Steps between those of whose tokens it is told how gates used their
  /// experts; 0: never.
  std::int64_t experts_every = 100;
  bool experts_line = false;  ///< The last such figures in lines of progress.
  /// Tokens of a text that a language model writes after each evaluation.
  std::int64_t sample_tokens = 0;
  /// TensorBoard's event files: no (or empty), yes (in the run directory) or
  /// the folder in which they have one of the run directory's name.
  std::string tensorboard = "no";
  /// A text file of the run's last figures for Prometheus; empty: none.
  std::filesystem::path prometheus;
  bool writes_events() const {
    return !tensorboard.empty() && tensorboard != "no";
  }
  std::uint64_t seed = 0;
  dist::Wire wire = dist::Wire::fp32;  ///< Of gradients on their way.
  /// Run directory; empty: nothing is written.
  std::filesystem::path out;
  /// Rate of matrix products of all ranks, FLOP/s, for `mfu` and `sol`, raised
  /// when a step beats it; 0: not known.
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

enum class ScheduleKind { cosine, linear, constant, wsd };

/// How the learning rate goes with the steps.
struct ScheduleConfig {
  /// After the warm-up: half a cosine or a line from `lr` to `min_lr`; `lr` for
  /// good; or (warm-up, stable, decay; Hu et al., arXiv 2404.06395) `lr` but
  /// for the last `decay` steps, in which it falls to `min_lr`.
  ScheduleKind kind = ScheduleKind::cosine;
  /// The highest rate, reached at the end of the warm-up.
  double lr = 1e-3;
  double min_lr = 0;
  /// Steps of linear growth: step s has lr · (s + 1) / warmup.
  std::int64_t warmup = 0;
  /// Step at which `min_lr` is reached; later steps stay there.
  std::int64_t steps = 1;
  /// Of wsd: how many of these steps fall, with 1 - sqrt(share of them done),
  /// which does better than a line (Haegele et al., arXiv 2405.18392).
  std::int64_t decay = 0;

  /// Throws `InputError` naming the member and what it must be.
  void validate() const;
};

}  // namespace mumoe::run
