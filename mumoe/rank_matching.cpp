#include "mumoe/rank_matching.h"

#include <fmt/format.h>
#include <algorithm>
#include <string>

#include "base/error.h"

namespace mumoe {
namespace {

using Ranks = std::vector<std::int64_t>;

constexpr std::int64_t kLargestBudget = std::int64_t{1} << 53;

/// A rank of the authors: thousandths of the block's width.
struct Multiplier {
  PaperFamily family;
  Form form;
  std::int64_t experts;
  std::int64_t thousandths;
};
const Multiplier kMultipliers[] = {
    {PaperFamily::gpt2, Form::cp, 64, 780},
    {PaperFamily::gpt2, Form::cp, 256, 725},
    {PaperFamily::gpt2, Form::tensor_ring, 64, 200},
    {PaperFamily::gpt2, Form::tensor_ring, 256, 195},
    {PaperFamily::mixer, Form::cp, 64, 750},
    {PaperFamily::mixer, Form::tensor_ring, 64, 190},
};

std::int64_t gate_elements(const BlockShape& block) {
  std::int64_t sum = 0;
  if (block.count_gate) {
    for (const std::int64_t n : block.experts)
      sum += checked_product({block.input_dim, n});
  }
  return sum;
}

/// "cp block 768 -> 3072 -> 768 with 16 x 4 experts".
std::string describe(const BlockShape& block) {
  std::string text = fmt::format("{} block {} -> {}",
                                 to_string(block.form),
                                 block.input_dim,
                                 block.hidden_dim);
  if (block.output_dim > 0) text += fmt::format(" -> {}", block.output_dim);
  for (std::size_t e = 0; e < block.experts.size(); ++e)
    text += fmt::format("{}{}", e == 0 ? " with " : " x ", block.experts[e]);
  return text + " experts";
}

/// All ranks of a layer from those that are fixed and the free one.
Ranks with_free_rank(Form form, Ranks ranks, std::int64_t free) {
  ranks.insert(ranks.end(), form->free_ranks, free);
  return ranks;
}

/// Throws InputError unless a rank is all that the block lacks.
void validate(const BlockShape& block, const Ranks& inner) {
  const Ranks ranks = with_free_rank(block.form, inner, 1);
  for (const LayerShape& layer : block.layers(ranks)) layer.validate();
}

/// The largest r >= 0 with count(r) <= limit, for a count that grows with r and
/// count(0) <= limit.
template <class Count>
std::int64_t largest_within(std::int64_t limit, Count count) {
  std::int64_t low = 0;
  std::int64_t high = 1;
  while (count(high) <= limit) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (count(middle) <= limit ? low : high) = middle;
  }
  return low;
}

Ranks automatic_ranks(const BlockShape& block, const RankRequest& request) {
  const Ranks inner = request.inner_ranks.empty()
                          ? block.form->inner_ranks(block.experts)
                          : request.inner_ranks;
  const auto ranks = [&](std::int64_t free) {
    return with_free_rank(block.form, inner, free);
  };
  const auto count = [&](std::int64_t free) {
    return parameter_count(block, ranks(free));
  };
  validate(block, inner);
  const std::int64_t budget = request.budget;
  require(budget >= 1 && budget <= kLargestBudget,
          "budget: {} parameters, expected 1 to 2^53",
          budget);
  if (request.rounding == Rounding::ceil) {
    require(count(0) < budget,
            "{}: without its free rank it has {} parameters, expected fewer "
            "than the budget of {}",
            describe(block),
            count(0),
            budget);
    return ranks(largest_within(budget - 1, count) + 1);
  }
  require(count(1) <= budget,
          "{}: with rank 1 it has {} parameters, expected no more than the "
          "budget of {}",
          describe(block),
          count(1),
          budget);
  return ranks(largest_within(budget, count));
}

Ranks multiplied_width(const BlockShape& block, PaperFamily family) {
  std::string defined;
  for (const Multiplier& m : kMultipliers) {
    if (m.family != family || m.form != block.form) continue;
    if (m.experts == block.experts[0]) {
      const std::int64_t free =
          checked_product({block.input_dim, m.thousandths}) / 1000;
      require(free >= 1,
              "{}: the authors' rank is {}/1000 of the input dim, expected an "
              "input dim that makes it 1 or more",
              describe(block),
              m.thousandths);
      return with_free_rank(block.form,
                            block.form->inner_ranks(block.experts),
                            free);
    }
    defined += fmt::format("{}{}", defined.empty() ? "" : " or ", m.experts);
  }
  fail<InputError>("{}: no rank of {} by the authors, expected {} experts",
                   describe(block),
                   to_string(family),
                   defined);
}

Ranks paper_ranks(const BlockShape& block, PaperFamily family) {
  require(block.form == Form::cp || block.form == Form::tensor_ring,
          "{}: no rank of {} by the authors, expected cp or tr",
          describe(block),
          to_string(family));
  require(block.experts.size() == 1,
          "{}: no rank of {} by the authors, expected one level of experts",
          describe(block),
          to_string(family));
  validate(block, block.form->inner_ranks(block.experts));
  if (family == PaperFamily::clip_head) {
    require(block.output_dim == 0,
            "{}: clip_head is a single layer, expected output dim 0",
            describe(block));
    const std::int64_t linear =
        dense_mlp_parameters(block.input_dim, block.hidden_dim, 0, true);
    return automatic_ranks(block,
                           {.budget = linear, .rounding = Rounding::ceil});
  }
  return multiplied_width(block, family);
}

}  // namespace

std::vector<LayerShape> BlockShape::layers(const Ranks& ranks) const {
  const auto layer = [&](std::int64_t inputs, std::int64_t outputs) {
    return LayerShape{form, inputs, outputs, experts, ranks, expert_bias};
  };
  if (output_dim == 0) return {layer(input_dim, hidden_dim)};
  return {layer(input_dim, hidden_dim), layer(hidden_dim, output_dim)};
}

std::int64_t parameter_count(const BlockShape& block, const Ranks& ranks) {
  std::int64_t sum = gate_elements(block);
  if (block.input_layer_norm) sum += checked_product({2, block.input_dim});
  for (const LayerShape& layer : block.layers(ranks))
    sum += parameter_count(layer);
  return sum;
}

std::int64_t macs_per_token(const BlockShape& block, const Ranks& ranks) {
  std::int64_t sum = gate_elements(block);
  for (const LayerShape& layer : block.layers(ranks))
    sum += macs_per_token(layer);
  return sum;
}

std::int64_t dense_mlp_parameters(std::int64_t input_dim,
                                  std::int64_t hidden_dim,
                                  std::int64_t output_dim,
                                  bool bias,
                                  bool layer_norm) {
  std::int64_t sum = checked_product({input_dim, hidden_dim}) +
                     checked_product({hidden_dim, output_dim});
  if (bias) sum += hidden_dim + output_dim;
  if (layer_norm) sum += input_dim + (bias ? input_dim : 0);
  return sum;
}

std::string_view to_string(RankRule rule) {
  return rule == RankRule::automatic ? "auto" : "paper";
}

std::string_view to_string(PaperFamily family) {
  switch (family) {
    case PaperFamily::gpt2:
      return "gpt2";
    case PaperFamily::mixer:
      return "mixer";
    case PaperFamily::clip_head:
      return "clip_head";
  }
  fail<InternalError>("no such family");
}

Ranks match_ranks(const BlockShape& block, const RankRequest& request) {
  return request.rule == RankRule::automatic
             ? automatic_ranks(block, request)
             : paper_ranks(block, request.family);
}

std::vector<std::int64_t> ranks_from_free(const BlockShape& block,
                                          std::int64_t free_rank) {
  return with_free_rank(block.form,
                        block.form->inner_ranks(block.experts),
                        free_rank);
}

}  // namespace mumoe
