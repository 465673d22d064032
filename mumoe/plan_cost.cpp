#include "mumoe/plan_cost.h"

#include <numeric>

#include "base/error.h"

namespace mumoe {
namespace {

double sum(const std::vector<std::int64_t>& values) {
  return static_cast<double>(
      std::accumulate(values.begin(), values.end(), std::int64_t{0}));
}

/// Lengths, for one token of one layer.
struct Lengths {
  explicit Lengths(const LayerShape& s) {
    combined = static_cast<double>(combination_of(s).result());
    for (const FactorSpec& f : factor_specs(s)) {
      const auto columns = static_cast<double>(f.columns(s));
      if (f.role == Role::input) projected = columns;
      if (f.role == Role::expert) mixed += columns;
      core = core || f.role == Role::core;
    }
  }
  double combined = 0;   ///< c
  double projected = 0;  ///< z U_I
  double mixed = 0;      ///< Σ_e m_e
  bool core = false;     ///< Whether z U_I meets one.
};

/// Multiply-accumulates of one layer that the cut divides among the ranks: of
/// the cut factors, and of a cut rank's combination.
double cut_macs(const LayerShape& s, LayerCut cut) {
  std::int64_t macs = cut == LayerCut::rank ? combine_macs(s).columns : 0;
  for (const FactorSpec& f : factor_specs(s)) {
    if (factor_placement(f, s, cut).is_cut()) macs += f.numel(s);
  }
  return static_cast<double>(macs);
}

/// Of the plan `rank`: outputs forward; backward what met a slice of the rank
/// (but da of the experts' own rank, which is of the whole block).
double rank_elements(const LayerShape& s) {
  const Lengths n(s);
  const double inputs = n.core ? n.projected : static_cast<double>(s.inputs);
  const double mixed = experts_have_last_rank(s) ? 0 : n.mixed;
  return static_cast<double>(s.outputs) + inputs + mixed;
}

/// What one layer keeps of a token of its rows: q and, where there is a core,
/// what meets it.
double kept_projections(LayerShape s, bool rank_cut, int ranks) {
  const Lengths whole(s);
  if (rank_cut) {
    s.ranks.back() = dist::slice_of(s.ranks.back(), 0, ranks).padded;
  }
  return static_cast<double>(combination_of(s).projection()) +
         (whole.core ? whole.projected : 0);
}

/// Multiply-accumulates by which a rank forms GELU's input again: its slice of
/// the output factor and, where c was not kept as it was gathered, what is
/// mixed and combined.
double hidden_macs(const std::vector<LayerShape>& layers,
                   Plan plan,
                   int ranks) {
  if (layers.size() != 2 || (plan == Plan::rank && ranks > 1)) return 0;
  const LayerShape& s = layers[0];
  const bool gathered = plan == Plan::sequence && ranks > 1;
  const CombineMacs combined = combine_macs(s);
  double macs =
      gathered ? 0 : static_cast<double>(combined.levels + combined.columns);
  for (const FactorSpec& f : factor_specs(s)) {
    const auto elements = static_cast<double>(f.numel(s));
    if (f.role == Role::output) macs += elements / ranks;
    if (f.role == Role::expert && !gathered) macs += elements;
  }
  return macs;
}

double kept_elements(const BlockShape& block,
                     const std::vector<LayerShape>& layers,
                     Plan plan,
                     int ranks,
                     bool recompute) {
  const bool rank_cut = plan == Plan::rank && ranks > 1;
  const bool wide_cut = plan != Plan::rank && layers.size() == 2;
  double rows = 2 * sum(block.experts);  // of this rank's rows
  for (const auto& layer : layers) {
    rows += kept_projections(layer, rank_cut, ranks);
  }
  double kept = plan == Plan::sequence ? rows / ranks : rows;
  if (plan == Plan::sequence && wide_cut && ranks > 1) {
    kept += Lengths(layers[0]).combined;
  }
  // Forming a sum over ranks again would repeat it.
  if (layers.size() == 2 && (!recompute || rank_cut)) {
    kept += static_cast<double>(
        wide_cut ? dist::slice_of(block.hidden_dim, 0, ranks).padded
                 : block.hidden_dim);
  }
  return kept;
}

}  // namespace

PlanCost plan_cost(const BlockShape& block,
                   const std::vector<std::int64_t>& block_ranks,
                   Plan plan,
                   int ranks,
                   bool recompute,
                   const std::vector<LayerShape>& stored) {
  const auto layers = block.layers(block_ranks);
  const auto whole = static_cast<double>(macs_per_token(block, block_ranks));
  PlanCost cost{
      .macs = whole,
      .repeated_macs = recompute ? hidden_macs(layers, plan, ranks) : 0,
      .kept = kept_elements(block, layers, plan, ranks, recompute)};
  if (ranks == 1) return cost;
  if (plan == Plan::sequence) {
    cost.macs = whole / ranks;
  } else {
    double cut = 0;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      cut += cut_macs(layers[l], layer_cut(plan, l, layers.size()));
    }
    cost.macs = whole - cut * (1 - 1.0 / ranks);
  }
  if (plan == Plan::rank) {
    for (const auto& layer : layers) {
      cost.elements += rank_elements(layer);
      cost.forward_elements += static_cast<double>(layer.outputs);
    }
    if (experts_have_last_rank(layers[0])) cost.elements += sum(block.experts);
    cost.forward_operations = static_cast<int>(layers.size());
    cost.operations = 2 * cost.forward_operations;
  } else if (layers.size() == 2) {
    const auto& sent = stored.empty() ? layers : stored;
    cost.elements = Lengths(sent[0]).combined + Lengths(sent[1]).projected;
    const bool both = plan == Plan::sequence;  // in each direction
    cost.operations = both ? 4 : 2;
    cost.forward_operations = cost.operations / 2;
    cost.forward_elements =
        both ? cost.elements / 2 : Lengths(sent[1]).projected;
  }
  return cost;
}

}  // namespace mumoe
