#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/samples.h"
#include "dist/process_mesh.h"
#include "model/model.h"
#include "train/scores.h"

namespace mumoe::study {

/// One gate of a model: a level of one of its mixtures.
struct Gate {
  std::size_t mixture = 0;  ///< Its place in `Model::mixtures()`.
  std::size_t level = 0;
  std::string name;  ///< "h.3.mlp"; "h.3.mlp level 1" where there are several.
  std::int64_t experts = 0;
};

/// All gates of `model`, front to back. Throws `InputError`, beginning with
/// `what` (whose model it is), where it has no experts.
std::vector<Gate> gates_of(const model::Model& model, const std::string& what);

/// A batch that has gone through a model, and how it was routed.
struct RoutedBatch {
  std::span<const std::uint64_t> samples;
  const model::Batch& batch;
  /// One for each of `gates_of`: a [samples · tokens, N] on the host, fp64 of
  /// fp64 and else fp32, row-major; the tokens of a sample (positions, patches,
  /// channels) one after the other. After edits.
  std::span<const at::Tensor> coefficients;
  /// Logits [samples, classes] of a classifier, losses [samples, T] of a
  /// language model, nats.
  at::Tensor output;
};

/// Sends samples through a model and shows how each token was routed.
/// Whole batches go to dp ranks in turn, as those of an evaluation do, so that
/// a batch has the same bits whatever their number.
class RoutingPass {
 public:
  /// What is behind them must outlive this. Throws `InputError` as `gates_of`,
  /// and under the plan `sequence`, where a rank sees some tokens only.
  RoutingPass(const model::Model& model,
              train::Scorer scorer,
              const std::string& what);

  std::span<const Gate> gates() const { return gates_; }

  /// Sees a batch of this rank. Every rank of a tp group sees the same.
  using Visit = std::function<void(const RoutedBatch&)>;
  /// Calls `visit` for the batches of this rank. Whatever ranks keep of them is
  /// theirs alone: `tells` says whose part counts when they put it together.
  /// Collective; without gradients.
  void run(const data::Samples& samples,
           const train::BatchList& batches,
           const Visit& visit) const;
  /// What `of` says of each sample, `numbers` of them a sample, one sample
  /// after the other in the order of `batches`; the same on every rank.
  /// Collective; without gradients.
  using NumbersOf = std::function<std::vector<double>(const RoutedBatch&)>;
  std::vector<double> numbers(const data::Samples& samples,
                              const train::BatchList& batches,
                              std::int64_t numbers,
                              const NumbersOf& of) const;
  /// Whether what this rank has seen counts: of a tp group, the first does.
  bool tells() const { return scorer_.mesh.tp().rank() == 0; }

 private:
  at::Tensor output_of(const model::Batch& batch) const;

  const model::Model& model_;
  train::Scorer scorer_;
  std::vector<Gate> gates_;
};

}  // namespace mumoe::study
