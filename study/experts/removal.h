#pragma once

#include <cstdint>
#include <vector>

#include "data/samples.h"
#include "dist/communicator.h"
#include "model/model.h"
#include "study/experts/focus.h"
#include "study/experts/routing.h"
#include "train/scores.h"

namespace mumoe::study {

/// How far predictions without an expert, found in one pass, are from those of
/// the model with that expert removed.
struct RemovalCheck {
  std::int64_t predictions = 0;  ///< Compared.
  std::int64_t differing = 0;
  double largest = 0;  ///< Difference of a logit.

  bool operator==(const RemovalCheck&) const = default;
};

/// How the removal of experts is evaluated.
struct RemovalOptions {
  /// Whether each of the experts is also removed for a pass of its own where
  /// one pass tells what all removals do.
  bool check = false;
};

/// What a gate's experts do to the scores of `samples`.
struct Removal {
  ClassScores scores;
  bool one_pass = false;
  RemovalCheck check = {};
};

/// Scores of `model` without each of the experts of gate `gate` of `pass`,
/// which is of this model. Where the gate is of a mixture whose output is the
/// logits, one pass through the model tells them all (`ExpertParts`); otherwise
/// each expert is taken out in turn (`MuMoEBlock::remove_expert`), of those
/// that a batch uses. What is edited before stays so.
///
/// A prediction is the class of the largest logit, the first of equal ones.
/// Where all logits are equal, as they are if nothing is mixed, there is none,
/// and it is wrong. Sums are exact: the same over any number of dp ranks.
/// Collective over the ranks of the pass. Throws `InputError` for targets that
/// are shares of classes.
Removal remove_each(model::Model& model,
                    const RoutingPass& pass,
                    std::size_t gate,
                    const data::Samples& samples,
                    const train::BatchList& batches,
                    dist::Communicator& world,
                    const RemovalOptions& options = {});

/// Class [B] of each row of logits [B, K], the first of equal ones; −1: all are
/// equal.
at::Tensor predicted_classes(const at::Tensor& logits);

}  // namespace mumoe::study
