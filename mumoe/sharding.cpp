#include "mumoe/sharding.h"

#include <utility>

namespace mumoe {

using dist::Placement;
using dist::TensorParallel;

std::string_view to_string(Plan plan) {
  switch (plan) {
    case Plan::sequence:
      return "sequence";
    case Plan::bottleneck:
      return "bottleneck";
    case Plan::rank:
      return "rank";
  }
  return "?";
}

TensorParallel Sharding::region() const {
  if (tp == nullptr) return {};
  return {*tp, plan == Plan::sequence};
}

LayerCut layer_cut(Plan plan, std::size_t layer, std::size_t layers) {
  if (plan == Plan::rank) return LayerCut::rank;
  if (layers == 1) return LayerCut::none;
  return layer == 0 ? LayerCut::outputs : LayerCut::inputs;
}

Placement factor_placement(const FactorSpec& factor,
                           const LayerShape& shape,
                           LayerCut cut) {
  if (cut == LayerCut::none) return {};
  const Dim dim = cut == LayerCut::outputs  ? Dim::outputs()
                  : cut == LayerCut::inputs ? Dim::inputs()
                                            : Dim::rank(shape.ranks.size() - 1);
  const int place = factor.place(dim);
  return place < 0 ? Placement{} : Placement::cut(place);
}

at::Tensor LayerSharding::sum_projection(const at::Tensor& q) const {
  return cut_ == LayerCut::inputs ? tp_.sum(q) : q;
}

TensorParallel::Pending LayerSharding::spread_projection_gradient(
    const at::Tensor& dq) const {
  if (cut_ != LayerCut::inputs) return {dq, {}};
  return tp_.all_tokens_async(dq);
}

at::Tensor LayerSharding::spread_combined(const at::Tensor& c) const {
  return cut_ == LayerCut::outputs ? tp_.all_tokens(c) : c;
}

TensorParallel::Pending LayerSharding::sum_combined_gradient(
    const at::Tensor& dc) const {
  if (cut_ != LayerCut::outputs) return {dc, {}};
  return tp_.sum_async(dc);
}

void LayerSharding::sum_output(at::Tensor& y) const {
  if (rank_cut()) tp_.sum_together({&y});
}

void LayerSharding::sum_gradients(std::vector<at::Tensor*> partial) const {
  if (rank_cut()) tp_.sum_together(std::move(partial));
}

}  // namespace mumoe
