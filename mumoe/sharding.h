#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "dist/params/placement.h"
#include "dist/tensor_parallel.h"
#include "mumoe/form.h"

namespace mumoe {

/// How a block of two layers (C → H → C) is cut over the ranks of a tp group.
///   sequence    O of layer 1 and I of layer 2 are cut; everywhere else tokens
///               are. Nothing is computed twice. Gradients of what is whole on
///               all ranks are partial.
///   bottleneck  the same cut, but all ranks hold all tokens: what lies outside
///               the wide part is computed on each of them.
///   rank        the rank that sums input and output (R, r₃ of a ring, RO of
///               Tucker) is cut in both layers: moves most, a control of
///               correctness.
/// A block of one layer is whole on all ranks but for `rank`.
enum class Plan { sequence, bottleneck, rank };

std::string_view to_string(Plan plan);

/// A plan and the ranks it cuts for; by default one rank, nothing cut.
struct Sharding {
  Plan plan = Plan::bottleneck;
  /// Null: one rank. Must outlive the model and its graphs.
  dist::Communicator* tp = nullptr;

  /// The collectives of a model under this plan.
  dist::TensorParallel region() const;
};

/// What of one layer is cut.
enum class LayerCut { none, outputs, inputs, rank };

/// The cut of layer `layer` (0, 1) of a block of `layers`.
LayerCut layer_cut(Plan plan, std::size_t layer, std::size_t layers);

/// Where this factor of a layer lies: cut along the dim that `cut` names, if it
/// has that dim.
dist::Placement factor_placement(const FactorSpec& factor,
                                 const LayerShape& shape,
                                 LayerCut cut);

/// What ranks exchange around one layer; identities where its cut does not ask
/// for it. None is differentiable: the mixture's node places each beside its
/// dual.
class LayerSharding {
 public:
  LayerSharding() = default;
  LayerSharding(LayerCut cut, dist::TensorParallel tp) : cut_(cut), tp_(tp) {}

  // Inputs cut: projections are partial sums over I.
  at::Tensor sum_projection(const at::Tensor& q) const;
  dist::TensorParallel::Pending spread_projection_gradient(
      const at::Tensor& dq) const;

  // Outputs cut: all tokens meet each rank's slice of O.
  at::Tensor spread_combined(const at::Tensor& c) const;
  dist::TensorParallel::Pending sum_combined_gradient(
      const at::Tensor& dc) const;
  /// Whether c of all tokens is to be kept for backward, not gathered again.
  bool keeps_combined() const {
    return cut_ == LayerCut::outputs && tp_.tokens_cut();
  }

  // Rank cut: outputs, and gradients of whatever met a slice of the rank, are
  // partial sums over it.
  bool rank_cut() const { return cut_ == LayerCut::rank && tp_.size() > 1; }
  void sum_output(at::Tensor& y) const;
  void sum_gradients(std::vector<at::Tensor*> partial) const;

 private:
  LayerCut cut_ = LayerCut::none;
  dist::TensorParallel tp_;
};

}  // namespace mumoe
