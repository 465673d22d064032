// Models cut over 2 and 4 tp ranks, over threads: the whole model's loss,
// gradients and logits, for every kind of MLP and every plan.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe {
namespace {

using Parameter = std::tuple<testing::ShardedCase, Plan, int>;

class Sharded : public ::testing::TestWithParam<Parameter> {};

TEST_P(Sharded, GivesTheWholeModelsGradients) {
  const auto& [model, plan, ranks] = GetParam();
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& tp) {
    testing::expect_same_model(model.config, plan, tp, at::kDouble, 1e-10);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Plans,
    Sharded,
    ::testing::Combine(
        ::testing::ValuesIn(testing::sharded_cases()),
        ::testing::Values(Plan::sequence, Plan::bottleneck, Plan::rank),
        ::testing::Values(2, 4)),
    [](const auto& info) {
      return fmt::format("{}_{}_{}",
                         std::get<0>(info.param).name,
                         to_string(std::get<1>(info.param)),
                         std::get<2>(info.param));
    });

TEST(ShardedModel, GivesTheWholeModelsGradientsInFp32) {
  for (const auto& model : testing::sharded_cases()) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      SCOPED_TRACE(fmt::format("{}, {}", model.name, to_string(plan)));
      dist::ThreadWorld::run(2, [&](dist::Communicator& tp) {
        testing::expect_same_model(model.config, plan, tp, at::kFloat, 1e-5);
      });
    }
  }
}

TEST(ShardedModel, RefusesWhatDoesNotDivide) {
  dist::ThreadWorld::run(3, [](dist::Communicator& tp) {
    auto config = testing::sharded_cases()[1].config;
    const auto make = [&](Plan plan) {
      dist::ParameterRegistry registry(tp, at::kFloat, at::kCPU);
      model::Gpt2(config, registry, {plan, &tp});
    };
    testing::expect_input_error([&] { make(Plan::bottleneck); },
                                {"tp = 3", "heads = 4"});
    config.heads = 6;
    config.width = 12;
    make(Plan::bottleneck);
    testing::expect_input_error(
        [&] { make(Plan::sequence); },
        {"plan = sequence", "context = 8", "bottleneck"});
  });
}

}  // namespace
}  // namespace mumoe
