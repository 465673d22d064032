#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mumoe/block.h"
#include "mumoe/gemm_rate.h"

namespace mumoe::model {

/// Samples on a device: integers as int64, other numbers as fp32. What the
/// columns of a row mean is between the model and its samples.
struct Batch {
  at::Tensor input;   ///< [samples, …]
  at::Tensor target;  ///< [samples, …]
  /// Global numbers of the samples, int64 [samples], by which training draws
  /// what is random; undefined: nothing random.
  at::Tensor ids = {};
};

/// What evaluation adds up over batches.
struct Score {
  double loss = 0;  ///< Σ over all targets, nats.
  /// Targets that were the likeliest, and one of the five likeliest; of models
  /// that tell classes apart.
  std::int64_t top1 = 0;
  std::int64_t top5 = 0;
};

/// What one micro-batch costs, forward and backward.
struct PassCost {
  /// Floating-point operations of all ranks of the tp group, two for a
  /// multiply-accumulate, what several of them compute counted once;
  double flops = 0;
  /// of each of them; what is formed again in backward not counted:
  double rank_flops = 0;
  /// that is this, of each of them.
  double repeated_flops = 0;
  /// That a rank moves over tp, as `Communicator::total_bytes` counts.
  double tp_bytes = 0;
  /// Its collectives over tp.
  std::int64_t tp_operations = 0;
  /// That a rank keeps from forward for backward, its samples not counted.
  double kept_bytes = 0;
  /// And, while backward computes a part again, what that part keeps for its
  /// own: of the largest.
  double repeated_bytes = 0;

  PassCost& operator+=(const PassCost& more) {
    flops += more.flops;
    rank_flops += more.rank_flops;
    repeated_flops += more.repeated_flops;
    tp_bytes += more.tp_bytes;
    tp_operations += more.tp_operations;
    kept_bytes += more.kept_bytes;
    repeated_bytes = std::max(repeated_bytes, more.repeated_bytes);
    return *this;
  }
};

/// What is trained. A model registers its parameters at construction and knows
/// no ranks; who trains it knows nothing else of it. `loss` and `score` are
/// collective over the tp group; all functions give the same on all its ranks.
class Model {
 public:
  Model() = default;
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// scale · Σ of the losses of all targets, differentiable in the parameters.
  /// Scalar, fp32 (fp64 for fp64).
  virtual at::Tensor loss(const Batch& batch, double scale) const = 0;
  /// Without gradients.
  virtual Score score(const Batch& batch) const = 0;
  /// Whether it waits for its weights itself (`ParameterRegistry::await`),
  /// layer by layer, so that later ones arrive while earlier ones compute;
  /// otherwise whoever calls it has waited for all of them.
  virtual bool awaits_weights() const { return false; }
  /// Its blocks of experts, front to back; none in a dense model. Each can be
  /// looked at: `prefix` is its name, `materialize` an expert's matrix, and
  /// `watch` gives the coefficients of the next pass through the model.
  virtual std::span<const MuMoEBlock* const> mixtures() const = 0;
  /// The same, to be edited (`MuMoEBlock::scale_expert`).
  virtual std::span<MuMoEBlock* const> blocks() = 0;
  /// Of a micro-batch of `samples` on `device`. Looks at sizes alone: the model
  /// may be elsewhere, on the meta device.
  virtual PassCost cost(std::int64_t samples, at::Device device) const = 0;
  /// The products of its forward pass that take most of the time, of a
  /// micro-batch of `samples`: for measuring how fast a machine is at them.
  virtual std::vector<Product> products(std::int64_t samples) const = 0;
  /// For people: "GPT-2, 12 blocks of width 768, ...".
  virtual std::string describe() const = 0;
};

}  // namespace mumoe::model
