#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// The experts that worked most at each token of a sample, at one gate.
struct GateTrace {
  /// Experts shown of a token.
  static constexpr std::int64_t kMost = 4;

  std::int64_t tokens = 0;
  /// [tokens, kMost], the largest coefficient first, of equal ones the first
  /// expert; −1 and 0 where fewer worked.
  std::vector<std::int64_t> experts = {};
  std::vector<double> coefficients = {};
};

/// Of each gate.
using RoutingTrace = std::vector<GateTrace>;

/// Keeps the traces of a few samples.
class Tracer {
 public:
  /// Of `samples` through a model with `gates`.
  Tracer(std::span<const Gate> gates, std::vector<std::uint64_t> samples);

  void add(const RoutedBatch& batch);
  /// Of each of the samples, in their order, the same on all ranks. As
  /// `ExpertLoad::finish`. Collective; once.
  std::vector<RoutingTrace> finish(dist::Communicator& world, bool tells);

 private:
  std::size_t gates_;
  std::vector<std::uint64_t> samples_;
  /// [tokens, 2 kMost] of each sample and gate: experts + 1, coefficients.
  std::vector<at::Tensor> seen_;
};

}  // namespace mumoe::study
