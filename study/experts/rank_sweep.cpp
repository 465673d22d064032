#include "study/experts/rank_sweep.h"

#include <algorithm>

#include "base/error.h"
#include "mumoe/rank_matching.h"

namespace mumoe::study {
namespace {

constexpr std::int64_t kInner = 4;  // r_1 and r_2 of the authors' rings

BlockShape head_shape(Form form,
                      std::int64_t inputs,
                      std::int64_t outputs,
                      std::int64_t experts) {
  return {.form = form,
          .input_dim = inputs,
          .hidden_dim = outputs,
          .output_dim = 0,
          .experts = {experts},
          .expert_bias = true,
          .input_layer_norm = false};
}

SweptLayer swept(BlockShape shape, const std::vector<std::int64_t>& ranks) {
  SweptLayer layer{.form = shape.form, .ranks = ranks};
  layer.matrix_rank = expert_matrix_rank(shape.layers(ranks)[0]);
  layer.parameters = parameter_count(shape, ranks);
  shape.count_gate = false;
  layer.macs = macs_per_token(shape, ranks);
  return layer;
}

}  // namespace

std::vector<SweptCount> sweep_experts(std::int64_t inputs,
                                      std::int64_t outputs,
                                      const std::vector<std::int64_t>& experts,
                                      std::int64_t budget) {
  std::vector<SweptCount> counts;
  const std::int64_t whole = std::min(inputs, outputs);
  for (const std::int64_t n : experts) {
    const auto matched = [&](Form form) {
      const BlockShape shape = head_shape(form, inputs, outputs, n);
      return swept(
          shape,
          match_ranks(shape, {.budget = budget, .rounding = Rounding::ceil}));
    };
    SweptCount count{.experts = n};
    count.cp = matched(Form::cp);
    count.ring = matched(Form::tensor_ring);
    count.whole_cp = swept(head_shape(Form::cp, inputs, outputs, n), {whole});
    count.whole_ring = swept(head_shape(Form::tensor_ring, inputs, outputs, n),
                             {kInner, kInner, (whole + kInner - 1) / kInner});
    count.dense_macs = checked_product({n, inputs + 1, outputs});
    count.dense_parameters = count.dense_macs + checked_product({n, inputs});
    counts.push_back(count);
  }
  return counts;
}

}  // namespace mumoe::study
