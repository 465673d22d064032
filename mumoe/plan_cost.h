#pragma once

#include <cstdint>
#include <vector>

#include "mumoe/rank_matching.h"
#include "mumoe/sharding.h"

namespace mumoe {

/// What one block costs each of the ranks it is cut over.
struct PlanCost {
  /// Elements that a rank exchanges for a token, forward and backward, counted
  /// as all-reduced ones; what is gathered or scattered counts half. Those of
  /// padding included.
  double elements = 0;
  /// Collectives of one forward and backward pass.
  int operations = 0;
  /// Of those, what forward alone exchanges, and its collectives.
  double forward_elements = 0;
  int forward_operations = 0;
  /// Multiply-accumulates of the forward pass for a token of the group: what a
  /// rank computes, divided by the group's tokens.
  double macs = 0;
  /// The same of what is formed again in backward.
  double repeated_macs = 0;
  /// Elements that a rank keeps from forward for backward, for a token of the
  /// group: logits, coefficients, projections, c where it is not gathered
  /// again, GELU's input. Its input and the statistics of the norm are not
  /// among them.
  double kept = 0;
};

/// `plan` over `ranks` (at least 1; one rank exchanges nothing); with
/// `recompute`, GELU's input is formed again in backward. Two layers
///   sequence, bottleneck  CP 2 R; ring r₁r₃ + r₂r₃; Tucker RO + RI
///   rank                  CP 2 H + 2 C + N; ring 2 H + 2 C + 2 r₁r₂;
///                         Tucker H + C + 2 RI + 2 RN
/// with r₁ r₃ = r₁ r_{E+2}, r₂ r₃ = r_{E+1} r_{E+2} and sums over levels.
/// `stored`: the layers as they lie, whose rows a GPU pads, and sends so;
/// empty: as the ranks say.
PlanCost plan_cost(const BlockShape& block,
                   const std::vector<std::int64_t>& block_ranks,
                   Plan plan,
                   int ranks,
                   bool recompute = false,
                   const std::vector<LayerShape>& stored = {});

}  // namespace mumoe
