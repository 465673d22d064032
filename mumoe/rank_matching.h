#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "mumoe/form.h"

namespace mumoe {

/// What the counts of a block (gate, norm and one or two layers in place of an
/// MLP) depend on, besides its ranks; both layers have the same.
struct BlockShape {
  Form form = Form::cp;
  /// C, H and O; O = 0: a single layer C to H.
  std::int64_t input_dim = 0;
  std::int64_t hidden_dim = 0;
  std::int64_t output_dim = 0;
  /// Experts of each level; a gate of C N_e for each.
  std::vector<std::int64_t> experts = {};
  bool expert_bias = true;
  /// An affine norm of the input: 2 C parameters, no products.
  bool input_layer_norm = true;
  /// Whether the gates are part of the counts.
  bool count_gate = true;

  /// Its one or two layers.
  std::vector<LayerShape> layers(const std::vector<std::int64_t>& ranks) const;
};

/// Elements of all parameters, and multiply-accumulates for one token, of a
/// block with these ranks. Equal but for the norm and what `macs_per_token` of
/// a layer adds: blocks of equal size cost the same.
std::int64_t parameter_count(const BlockShape& block,
                             const std::vector<std::int64_t>& ranks);
std::int64_t macs_per_token(const BlockShape& block,
                            const std::vector<std::int64_t>& ranks);

/// Parameters of the dense MLP C -> H -> O (O = 0: of the linear layer C -> H):
/// CH + HO, with `bias` H + O more, with `layer_norm` that of its input, C, and
/// C more with `bias` (as in nanoGPT, where one switch is for both).
std::int64_t dense_mlp_parameters(std::int64_t input_dim,
                                  std::int64_t hidden_dim,
                                  std::int64_t output_dim,
                                  bool bias,
                                  bool layer_norm = false);

/// Who chooses the ranks.
enum class RankRule {
  /// The budget does.
  automatic,
  /// The authors do, as a multiple of the block's width.
  paper,
};

/// On which side of the budget the free rank falls.
enum class Rounding {
  /// The largest rank whose block does not exceed the budget.
  floor,
  /// The smallest rank whose block reaches it: the authors' CLIP head.
  ceil,
};

/// The models that the authors chose ranks for.
enum class PaperFamily { gpt2, mixer, clip_head };

/// As in configs: auto, paper.
std::string_view to_string(RankRule rule);
std::string_view to_string(PaperFamily family);

/// What `match_ranks` is asked for.
struct RankRequest {
  RankRule rule = RankRule::automatic;

  /// automatic: parameters that the whole block may have, at most 2^53.
  std::int64_t budget = 0;
  Rounding rounding = Rounding::floor;
  /// automatic: the ranks that are not free. tr {r_1, ..., r_{E+1}}, empty: 4
  /// each; tt the same with r_1 = 1; tucker {RN_1, ..., RN_E}, empty: min(N_e,
  /// m) with m = 16, 4, 2, 2 for one to four levels, so that the core has at
  /// most 16 slices; cp none.
  std::vector<std::int64_t> inner_ranks{};

  /// paper: the model.
  PaperFamily family = PaperFamily::gpt2;
};

/// The ranks of a block, in the order of LayerShape::ranks.
///
/// automatic: the free rank (cp R; tr and tt r_{E+2}; tucker RI = RO) is the
/// largest that the budget allows. In a two-layer CP block without a norm
///   R = (B - CN) / (2N + C + 2H + O + 2),
/// in a ring with r_1 = r_2 = 4
///   r_3 = (B - CN - 32N) / (4(C+1) + 4H + 4(H+1) + 4O).
///
/// paper: for cp and tr (4, 4, r_3) with one level of experts, width = C.
///   gpt2       N = 64   R = floor(0.78 width)    r_3 = floor(0.2 width)
///              N = 256  R = floor(0.725 width)   r_3 = floor(0.195 width)
///   mixer      N = 64   R = floor(0.75 width)    r_3 = floor(0.19 width)
///   clip_head  any N: automatic, rounding up to a linear layer with bias; a
///              single layer
/// The multipliers are exact fractions; the authors' floating-point products
/// round to the same integers for every width up to 20,000.
///
/// InputError, on one line with the numbers, where not even rank 1 fits
/// (Rounding::ceil: where the gate, the norm and the factors without the free
/// rank leave nothing of the budget) and where the authors define no rank.
std::vector<std::int64_t> match_ranks(const BlockShape& block,
                                      const RankRequest& request);

/// The ranks of a block from its free rank, with the inner ranks that
/// `RankRequest::inner_ranks` has when it is empty.
std::vector<std::int64_t> ranks_from_free(const BlockShape& block,
                                          std::int64_t free_rank);

}  // namespace mumoe
