#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "mumoe/rank_matching.h"

namespace mumoe {
namespace {

using Ranks = std::vector<std::int64_t>;

Ranks by_budget(const BlockShape& block,
                std::int64_t budget,
                Rounding rounding = Rounding::floor) {
  return match_ranks(block, {.budget = budget, .rounding = rounding});
}

BlockShape any_block() {
  BlockShape block;
  block.form = *rc::gen::element(Form::cp,
                                 Form::tensor_ring,
                                 Form::tensor_train,
                                 Form::tucker);
  block.input_dim = *rc::gen::inRange(1, 2000);
  block.hidden_dim = *rc::gen::inRange(1, 8000);
  block.output_dim = *rc::gen::inRange(0, 2000);
  const std::size_t levels = *rc::gen::inRange(1, 5);
  block.experts =
      *rc::gen::container<Ranks>(levels,
                                 rc::gen::inRange<std::int64_t>(1, 600));
  block.expert_bias = *rc::gen::arbitrary<bool>();
  block.input_layer_norm = *rc::gen::arbitrary<bool>();
  block.count_gate = *rc::gen::arbitrary<bool>();
  return block;
}

/// The same ranks with the free one larger by `more`.
Ranks raised(const BlockShape& block, Ranks ranks, std::int64_t more) {
  ranks.back() += more;
  if (block.form == Form::tucker) ranks.end()[-2] += more;
  return ranks;
}

/// A budget that rank 1 fits in.
std::int64_t any_budget(const BlockShape& block) {
  const std::int64_t huge = std::int64_t{1} << 50;
  const Ranks some = by_budget(block, huge);
  const Ranks one = raised(block, some, 1 - some.back());
  return parameter_count(block, one) +
         *rc::gen::resize(rc::kNominalSize,
                          rc::gen::inRange<std::int64_t>(0, 20'000'000));
}

RC_GTEST_PROP(RankMatching, TheRankIsTheLargestWithinTheBudget, ()) {
  const BlockShape block = any_block();
  const std::int64_t budget = any_budget(block);
  const Ranks down = by_budget(block, budget);
  for (const LayerShape& layer : block.layers(down)) layer.validate();
  RC_ASSERT(parameter_count(block, down) <= budget);
  RC_ASSERT(parameter_count(block, raised(block, down, 1)) > budget);
  const bool exact = parameter_count(block, down) == budget;
  RC_ASSERT(by_budget(block, budget, Rounding::ceil) ==
            raised(block, down, exact ? 0 : 1));
}

RC_GTEST_PROP(RankMatching, ALargerBudgetNeverLowersTheRank, ()) {
  const BlockShape block = any_block();
  const std::int64_t small = any_budget(block);
  const std::int64_t large = small + *rc::gen::inRange(0, 10'000'000);
  for (const Rounding rounding : {Rounding::floor, Rounding::ceil}) {
    const Ranks low = by_budget(block, small, rounding);
    const Ranks high = by_budget(block, large, rounding);
    RC_ASSERT(low.back() <= high.back());
    RC_ASSERT(raised(block, low, high.back() - low.back()) == high);
  }
}

// Parameter-matched blocks are matched in cost too.
RC_GTEST_PROP(RankMatching, EveryCpParameterIsUsedOnce, ()) {
  BlockShape block = any_block();
  block.form = Form::cp;
  const Ranks ranks = by_budget(block, any_budget(block));
  const std::int64_t norm = block.input_layer_norm ? 2 * block.input_dim : 0;
  RC_ASSERT(macs_per_token(block, ranks) + norm ==
            parameter_count(block, ranks));
}

}  // namespace
}  // namespace mumoe
