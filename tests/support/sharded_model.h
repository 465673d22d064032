#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "tests/support/parameters.h"
#include "tests/support/tokens.h"

// A model cut over a tp group beside the whole one: the same weights, tokens
// and gradients.

namespace mumoe::testing {

/// A model to cut, by name.
struct ShardedCase {
  std::string name;
  model::ModelConfig config;
};

/// What small models to cut have in common.
inline model::ModelConfig small_config(std::int64_t depth,
                                       std::int64_t context) {
  model::ModelConfig config;
  config.depth = depth;
  config.heads = 4;
  config.width = 16;
  config.context = context;
  config.vocab = 21;
  config.mlp.hidden_dim = 30;
  config.bias = true;
  config.mlp.experts = {6};
  return config;
}

/// Small models of every kind whose cut dims divide by 2 or 4 as a rule not:
/// vocabulary 21, ranks 7 and 23, hidden 30.
inline std::vector<ShardedCase> sharded_cases() {
  const model::ModelConfig base = small_config(/*depth=*/2, /*context=*/8);
  const auto with = [&](const std::string& mlp,
                        std::vector<std::int64_t> ranks,
                        std::vector<std::int64_t> experts = {6}) {
    model::ModelConfig config = base;
    config.set_mlp(mlp);
    config.mlp.ranks = std::move(ranks);
    config.mlp.experts = std::move(experts);
    config.mlp.level_noise = 0.5;
    return config;
  };
  std::vector<ShardedCase> cases{
      {"dense", with("dense", {})},
      {"cp_23", with("cp", {23})},
      {"cp_7_two_levels", with("cp", {7}, {6, 5})},
      {"tr_2_3_5", with("tr", {2, 3, 5})},
      {"tr_3_2_6_two_levels", with("tr", {3, 2, 4, 6}, {4, 5})},
      {"tt_1_3_7", with("tt", {1, 3, 7})},
      {"tucker_3_5_6", with("tucker", {3, 5, 6})},
      {"tucker_two_levels", with("tucker", {3, 2, 5, 7}, {4, 5})}};
  auto plain = with("cp", {9});
  plain.bias = plain.mlp.expert_bias = false;
  plain.mlp.recompute = true;
  plain.mlp.mixing = Mixing::sparse;
  cases.push_back({"cp_9_sparse_recomputed_without_biases", plain});
  auto ring = with("tr", {2, 2, 5});
  ring.mlp.recompute = true;
  ring.mlp.mixing = Mixing::sparse;
  ring.mlp.gate.norm = GateNorm::none;
  cases.push_back({"tr_2_2_5_sparse_recomputed", ring});
  auto soft = with("cp", {10});
  soft.mlp.gate.activation = GateActivation::softmax;
  soft.vocab = 3;  // with four ranks, one holds padding alone
  cases.push_back({"cp_10_softmax_tiny_vocabulary", soft});
  return cases;
}

/// One model on one tp group, its weights drawn and its gates away from zero.
struct ShardedModel {
  ShardedModel(const model::ModelConfig& config,
               Plan plan,
               dist::Communicator& tp,
               at::ScalarType dtype,
               at::Device device = at::kCPU)
      : plan(plan),
        tp(tp),
        registry(tp, dtype, device),
        gpt2(config, registry, {plan, &tp}),
        buckets(registry, 1 << 12) {
    buckets.initialise(3);
    at::NoGradGuard no_grad;
    for (const auto& p : registry.parameters()) {
      if (p.name.find("gate.") == std::string::npos &&
          !p.name.ends_with("bias")) {
        continue;
      }
      const CounterRandom random(5, Purpose::test, hash_name(p.name));
      const at::Tensor whole = at::empty(p.global_shape, at::kDouble);
      for (std::int64_t i = 0; i < whole.numel(); ++i) {
        whole.data_ptr<double>()[i] = 0.5 * random.normal(i);
      }
      p.value.copy_(registry.cut(p, whole));
    }
  }

  /// The mean loss of `tokens` [B, T + 1], of the samples `ids`, and every
  /// gradient, whole.
  double run(const at::Tensor& tokens, const at::Tensor& ids = {}) {
    const double targets =
        static_cast<double>(tokens.size(0) * (tokens.size(1) - 1));
    model::Batch batch = next_token_batch(tokens.to(registry.device()));
    if (ids.defined()) batch.ids = ids.to(registry.device());
    const at::Tensor loss = gpt2.loss(batch, 1 / targets);
    loss.backward();
    gradients.clear();
    for (const auto& p : registry.parameters()) {
      const at::Tensor grad = p.value.grad().contiguous().clone();
      p.value.mutable_grad().reset();
      if (!p.placement.is_cut() && plan == Plan::sequence) tp.all_reduce(grad);
      gradients[p.name] = registry.gather(p, grad);
      if (p.placement.is_cut()) expect_zero_padding(p, grad);
    }
    return loss.item<double>();
  }

  /// Zero weights of padding stay zero only with zero gradients.
  void expect_zero_padding(const dist::Parameter& p, const at::Tensor& grad) {
    const dist::Slice slice = registry.slice(p);
    const at::Tensor padding = grad.narrow(p.placement.cut_dim,
                                           slice.count,
                                           slice.padded - slice.count);
    EXPECT_EQ(padding.abs().sum().item<double>(), 0) << p.name;
  }

  Plan plan;
  dist::Communicator& tp;
  dist::ParameterRegistry registry;
  model::Gpt2 gpt2;
  dist::FlatBuckets buckets;
  std::map<std::string, at::Tensor> gradients;
};

inline at::Tensor random_tokens(std::int64_t samples,
                                std::int64_t length,
                                std::int64_t vocab) {
  const CounterRandom random(6, Purpose::test);
  const at::Tensor tokens = at::empty({samples, length}, at::kLong);
  for (std::int64_t i = 0; i < tokens.numel(); ++i) {
    tokens.data_ptr<std::int64_t>()[i] = random.below(i, vocab);
  }
  return tokens;
}

/// The loss and all gradients of `config` cut over `tp` are those of one rank,
/// relative to each tensor's norm. A tensor that fp32 does not give one rank to
/// `tolerance` either (a gate's, a difference of much larger numbers) may be as
/// far off as one rank's is from fp64, but by no more than ten times
/// `tolerance`.
inline void expect_same_model(const model::ModelConfig& config,
                              Plan plan,
                              dist::Communicator& tp,
                              at::ScalarType dtype,
                              double tolerance) {
  const at::Tensor tokens = random_tokens(3, config.context + 1, config.vocab);
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel whole(config, plan, *self, dtype);
  ShardedModel cut(config, plan, tp, dtype);
  const double expected = whole.run(tokens);
  EXPECT_NEAR(cut.run(tokens) / expected, 1, tolerance);
  ShardedModel wide(config, plan, *self, at::kDouble);
  wide.run(tokens);
  double scale = 0;
  for (const auto& [name, gradient] : whole.gradients) {
    scale = std::max(scale, gradient.norm().item<double>());
  }
  for (const auto& [name, gradient] : whole.gradients) {
    const double norm = gradient.norm().item<double>();
    const double error =
        (cut.gradients.at(name) - gradient).norm().item<double>();
    const double rounding =
        (gradient - wide.gradients.at(name)).norm().item<double>();
    EXPECT_LT(
        error,
        std::max(rounding, tolerance * (norm > 1e-12 * scale ? norm : scale)))
        << name << ", " << rounding / norm << " off on one rank";
  }
  at::NoGradGuard no_grad;
  const at::Tensor inputs = tokens.narrow(1, 0, config.context);
  EXPECT_LT(relative_error(cut.gpt2.next_logits(inputs),
                           whole.gpt2.next_logits(inputs)),
            tolerance);
}

}  // namespace mumoe::testing
