#include "model/dropout.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "model/gpt2_config.h"
#include "tests/support/errors.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::testing {
namespace {

using model::Dropout;
using model::DropPlace;

at::Tensor numbers(std::vector<std::int64_t> ids) {
  return at::tensor(ids, at::kLong);
}

/// Of all rows of the samples `ids`.
Dropout whole(double p, const at::Tensor& ids, std::int64_t length) {
  const std::int64_t rows = ids.size(0) * length;
  return {p, 7, ids, length, {0, rows, rows}};
}

TEST(Dropout, HasItsMeanAndItsVariance) {
  const at::Tensor ones = at::ones({4 * 100, 500}, at::kDouble);
  for (const double p : {0.1, 0.5}) {
    const at::Tensor y = whole(p, numbers({3, 4, 5, 900000000000}), 100)
                             .of_rows(ones, DropPlace::mlp, 2);
    const auto n = static_cast<double>(y.numel());
    const double deviation = std::sqrt(p / (1 - p));
    EXPECT_NEAR(y.mean().item<double>(), 1, 5 * deviation / std::sqrt(n));
    EXPECT_NEAR(y.var().item<double>() / (deviation * deviation), 1, 0.02);
    EXPECT_TRUE((y.eq(0) | y.eq(1 / (1 - p))).all().item<bool>());
    // Neither rows nor columns have more in common than chance.
    const double of_rows = y.mean(1).var().item<double>();
    const double of_columns = y.mean(0).var().item<double>();
    EXPECT_NEAR(of_rows * 500 / (deviation * deviation), 1, 0.5);
    EXPECT_NEAR(of_columns * 400 / (deviation * deviation), 1, 0.5);
  }
}

TEST(Dropout, MasksOfOtherSamplesLayersPlacesAndSeedsAreOthers) {
  const at::Tensor ones = at::ones({64, 64}, at::kFloat);
  const auto mask = [&](std::uint64_t seed,
                        std::int64_t id,
                        DropPlace place,
                        std::size_t layer) {
    return Dropout(0.5, seed, numbers({id}), 64, {0, 64, 64})
        .of_rows(ones, place, layer)
        .gt(0);
  };
  const at::Tensor first = mask(1, 0, DropPlace::mlp, 0);
  for (const at::Tensor& other : {mask(2, 0, DropPlace::mlp, 0),
                                  mask(1, 1, DropPlace::mlp, 0),
                                  mask(1, 0, DropPlace::attention, 0),
                                  mask(1, 0, DropPlace::mlp, 1)}) {
    const double same = first.eq(other).to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(same, 0.5, 5 * 0.5 / 64);
  }
  EXPECT_TRUE(first.equal(mask(1, 0, DropPlace::mlp, 0)));
}

TEST(Dropout, IsTheSameHoweverRowsAndHeadsAreDealt) {
  const at::Tensor ids = numbers({8, 3, 21});
  const at::Tensor x = at::rand({3 * 6, 5}, at::kDouble) + 1;
  const at::Tensor y = whole(0.3, ids, 6).of_rows(x, DropPlace::embedding);
  for (const std::int64_t begin : {0, 4, 9}) {
    const Dropout part(0.3, 7, ids, 6, {begin, 9, 9});
    EXPECT_TRUE(part.of_rows(x.narrow(0, begin, 9), DropPlace::embedding)
                    .equal(y.narrow(0, begin, 9)));
  }
  const Dropout alone = whole(0.3, numbers({3}), 6);
  EXPECT_TRUE(alone.of_rows(x.narrow(0, 6, 6), DropPlace::embedding)
                  .equal(y.narrow(0, 6, 6)))
      << "a sample in another micro-batch";
  const at::Tensor p = at::rand({3, 4, 6, 6}, at::kDouble) + 1;
  const at::Tensor q = whole(0.3, ids, 6).of_probabilities(p, 1, 0);
  EXPECT_TRUE(whole(0.3, ids, 6)
                  .of_probabilities(p.narrow(1, 2, 2), 1, 2)
                  .equal(q.narrow(1, 2, 2)));
  // Several threads.
  const at::Tensor large = at::ones({6000, 512}, at::kFloat);
  const at::Tensor big = numbers({1});
  const at::Tensor all = Dropout(0.5, 7, big, 6000, {0, 6000, 6000})
                             .of_rows(large, DropPlace::mlp);
  EXPECT_TRUE(Dropout(0.5, 7, big, 6000, {5999, 1, 1})
                  .of_rows(large.narrow(0, 0, 1), DropPlace::mlp)
                  .equal(all.narrow(0, 5999, 1)));
}

TEST(Dropout, NumbersOfEveryWidthDropTheSameElements) {
  const at::Tensor ids = numbers({1, 2});
  const at::Tensor x = at::ones({8, 100}, at::kDouble);
  const Dropout drop = whole(0.25, ids, 4);
  const at::Tensor wide = drop.of_rows(x, DropPlace::mlp);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor y = drop.of_rows(x.to(type), DropPlace::mlp);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_TRUE(y.eq(0).equal(wide.eq(0)));
    EXPECT_TRUE(y.equal(wide.to(type)));
  }
}

TEST(Dropout, DropsNothingWithoutNumbersOrProbability) {
  const at::Tensor x = at::rand({8, 10});
  EXPECT_TRUE(Dropout().of_rows(x, DropPlace::mlp).is_same(x));
  EXPECT_TRUE(
      Dropout(0.5, 1, {}, 4, {0, 8, 8}).of_rows(x, DropPlace::mlp).is_same(x));
  EXPECT_TRUE(
      whole(0, numbers({1, 2}), 4).of_rows(x, DropPlace::mlp).is_same(x));
}

model::ModelConfig dropping(const char* name) {
  for (const ShardedCase& each : sharded_cases()) {
    if (each.name != name) continue;
    model::ModelConfig config = each.config;
    config.dropout = 0.1;
    config.seed = 5;
    return config;
  }
  ADD_FAILURE() << name;
  return {};
}

constexpr const char* kModels[] = {"dense", "cp_23", "tr_2_3_5"};

TEST(DroppingModel, IsTheSameOverTensorParallelRanksAndMicroBatches) {
  const at::Tensor ids = numbers({12, 3, 77, 5});
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const char* name : kModels) {
    SCOPED_TRACE(name);
    const auto config = dropping(name);
    const at::Tensor tokens = random_tokens(4, config.context + 1, 21);
    ShardedModel one(config, Plan::sequence, *self, at::kDouble);
    const double expected = one.run(tokens, ids);
    EXPECT_GT(std::abs(one.run(tokens, ids.flip(0)) / expected - 1), 1e-4);
    EXPECT_GT(std::abs(one.run(tokens) / expected - 1), 1e-4);
    EXPECT_EQ(one.run(tokens, ids), expected);
    // Two ranks of dp, or two micro-batches.
    const double halves = one.run(tokens.narrow(0, 0, 2), ids.narrow(0, 0, 2)) +
                          one.run(tokens.narrow(0, 2, 2), ids.narrow(0, 2, 2));
    EXPECT_NEAR(halves / 2 / expected, 1, 1e-10);
    one.run(tokens, ids);
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      for (const int ranks : {2, 4}) {
        SCOPED_TRACE(fmt::format("{} {}", to_string(plan), ranks));
        dist::ThreadWorld::run(ranks, [&](dist::Communicator& tp) {
          ShardedModel cut(config, plan, tp, at::kDouble);
          EXPECT_NEAR(cut.run(tokens, ids) / expected, 1, 1e-10);
          for (const auto& [parameter, gradient] : one.gradients) {
            if (gradient.norm().item<double>() < 1e-12) continue;
            EXPECT_LT(relative_error(cut.gradients.at(parameter), gradient),
                      1e-10)
                << parameter;
          }
        });
      }
    }
  }
}

TEST(DroppingModel, ItsGradientIsThatOfDifferences) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const at::Tensor ids = numbers({1, 2, 3});
  for (const char* name : kModels) {
    auto config = dropping(name);
    config.dropout = 0.4;
    ShardedModel m(config, Plan::sequence, *self, at::kDouble);
    const at::Tensor tokens = random_tokens(3, config.context + 1, 21);
    m.run(tokens, ids);
    for (const auto& p : m.registry.parameters()) {
      // Along the gradient, and of a weight that drops differently in it.
      const at::Tensor gradient = m.gradients.at(p.name).clone();
      const double norm = gradient.norm().item<double>();
      if (norm < 1e-6) continue;
      const auto shifted = [&](double by) {
        const at::NoGradGuard no_grad;
        const at::Tensor before = p.value.detach().clone();
        p.value.add_(gradient, by / norm);
        model::Batch batch = next_token_batch(tokens);
        batch.ids = ids;
        const double loss =
            m.gpt2.loss(batch, 1.0 / (3.0 * config.context)).item<double>();
        p.value.copy_(before);
        return loss;
      };
      constexpr double kStep = 1e-5;
      const double slope = (shifted(kStep) - shifted(-kStep)) / (2 * kStep);
      EXPECT_NEAR(slope / norm, 1, 1e-4) << name << " " << p.name;
    }
  }
}

TEST(DroppingModel, EvaluationAndNoDropoutAreTheModelItself) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto config = dropping("cp_23");
  auto plain = config;
  plain.dropout = 0;
  ShardedModel with(config, Plan::sequence, *self, at::kFloat);
  ShardedModel without(plain, Plan::sequence, *self, at::kFloat);
  const at::Tensor tokens = random_tokens(3, config.context + 1, 21);
  model::Batch batch = next_token_batch(tokens);
  batch.ids = numbers({4, 5, 6});
  EXPECT_EQ(with.gpt2.score(batch).loss, without.gpt2.score(batch).loss);
  EXPECT_EQ(with.run(tokens), without.run(tokens));
  EXPECT_EQ(without.run(tokens, batch.ids), without.run(tokens));
}

TEST(DroppingModel, AProbabilityThatIsNoneIsRefused) {
  auto config = dropping("dense");
  for (const double p : {-0.1, 1.0, std::nan("")}) {
    config.dropout = p;
    expect_input_error([&] { model::validate_gpt2(config); },
                       {"dropout = ", "below 1"});
  }
}

}  // namespace
}  // namespace mumoe::testing
