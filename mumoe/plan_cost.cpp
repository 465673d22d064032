#include "mumoe/plan_cost.h"

#include <numeric>

#include "base/error.h"
#include "mumoe/combine.h"

namespace mumoe {
namespace {

double sum(const std::vector<std::int64_t>& values) {
  return static_cast<double>(
      std::accumulate(values.begin(), values.end(), std::int64_t{0}));
}

/// Lengths, for one token of one layer.
struct Lengths {
  explicit Lengths(const LayerShape& s) {
    const kernels::CombineShape c = combination_of(s);
    combined = static_cast<double>(c.result());
    // Tucker's projection meets the core only after its bias.
    projected = static_cast<double>(
        s.form == Form::tucker ? s.ranks[s.experts.size()] : c.projection());
    for (int e = 0; e < c.levels; ++e) mixed += static_cast<double>(c.mixed[e]);
  }
  double combined = 0;   ///< c
  double projected = 0;  ///< z U_I
  double mixed = 0;      ///< Σ_e m_e
};

/// Multiply-accumulates of one layer that the cut divides among the ranks.
double cut_macs(const LayerShape& s, LayerCut cut) {
  const Lengths n(s);
  const auto inputs = static_cast<double>(s.inputs);
  const auto outputs = static_cast<double>(s.outputs);
  switch (cut) {
    case LayerCut::none:
      return 0;
    case LayerCut::outputs:
      return outputs * n.combined;
    case LayerCut::inputs:
      return inputs * n.projected;
    case LayerCut::rank:
      break;
  }
  const auto all = static_cast<double>(macs_per_token(s));
  const double mix = [&] {  // Σ_e N_e · mixed_e
    const kernels::CombineShape c = combination_of(s);
    double macs = 0;
    for (int e = 0; e < c.levels; ++e) {
      macs += static_cast<double>(c.experts[e] * c.mixed[e]);
    }
    return macs;
  }();
  switch (s.form) {
    case Form::cp:
      return all;
    case Form::tensor_ring:
    case Form::tensor_train: {
      // All but the experts, and the products of their matrices.
      const auto& r = s.ranks;
      double chain = 0;
      for (std::size_t k = 1; k < s.experts.size(); ++k) {
        chain += static_cast<double>(r[0] * r[k] * r[k + 1]);
      }
      return all - mix - chain;
    }
    case Form::tucker:
      return all - mix - (inputs + (s.bias ? 1 : 0)) * n.projected;
  }
  fail<InternalError>("no such form");
}

/// Of the plan `rank`: outputs forward; backward what met a slice of the rank.
double rank_elements(const LayerShape& s) {
  const Lengths n(s);
  const double outputs = static_cast<double>(s.outputs);
  switch (s.form) {
    case Form::cp:
      return outputs + static_cast<double>(s.inputs);
    case Form::tensor_ring:
    case Form::tensor_train:
      return outputs + static_cast<double>(s.inputs) + n.mixed;
    case Form::tucker:
      return outputs + n.projected + n.mixed;
  }
  fail<InternalError>("no such form");
}

}  // namespace

PlanCost plan_cost(const BlockShape& block,
                   const std::vector<std::int64_t>& block_ranks,
                   Plan plan,
                   int ranks) {
  const auto layers = block.layers(block_ranks);
  const auto whole = static_cast<double>(macs_per_token(block, block_ranks));
  PlanCost cost{.macs = whole};
  if (ranks == 1) return cost;
  if (plan == Plan::sequence) {
    cost.macs = whole / ranks;
    cost.whole = static_cast<double>(parameter_count(block, block_ranks));
    for (std::size_t l = 0; l < layers.size(); ++l) {
      // The cut factors: used once for each token.
      cost.whole -= cut_macs(layers[l], layer_cut(plan, l, layers.size()));
    }
  } else {
    double cut = 0;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      cut += cut_macs(layers[l], layer_cut(plan, l, layers.size()));
    }
    cost.macs = whole - cut * (1 - 1.0 / ranks);
  }
  if (plan == Plan::rank) {
    for (const auto& layer : layers) cost.elements += rank_elements(layer);
    if (block.form == Form::cp) cost.elements += sum(block.experts);
    cost.operations = 2 * static_cast<int>(layers.size());
  } else if (layers.size() == 2) {
    cost.elements = Lengths(layers[0]).combined + Lengths(layers[1]).projected;
    cost.operations = plan == Plan::sequence ? 4 : 2;
  }
  return cost;
}

}  // namespace mumoe
