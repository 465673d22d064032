#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "mumoe/block.h"

namespace mumoe::model {

/// Samples on a device: integers as int64, other numbers as fp32. What the
/// columns of a row mean is between the model and its samples.
struct Batch {
  at::Tensor input;   ///< [samples, …]
  at::Tensor target;  ///< [samples, …]
};

/// What evaluation adds up over batches.
struct Score {
  double loss = 0;  ///< Σ over all targets, nats.
};

/// What is trained. A model registers its parameters at construction and knows
/// no ranks; who trains it knows nothing else of it. All functions are
/// collective over the tp group and give the same on all its ranks.
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
  /// Its blocks of experts, front to back; none in a dense model.
  virtual std::span<const MuMoEBlock* const> mixtures() const = 0;
  /// Floating-point operations of one training sample, forward and backward.
  virtual double flops_per_sample() const = 0;
};

}  // namespace mumoe::model
