// Lines of results of loss studies, and budgets as steps.
#include "study/loss/loss_result.h"

#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "study/loss/budget_steps.h"
#include "tests/study/error_of.h"

namespace mumoe::study {
namespace {

using testing::error_of;

TEST(BudgetSteps, AreWholeAndRoundedUp) {
  const auto steps = [&](std::initializer_list<std::int64_t> some) {
    return budget_steps(std::vector<std::int64_t>(some), 0.2, 64, "token");
  };
  EXPECT_EQ(steps({1}), (std::vector<BudgetSteps>{{1, 0}}));
  EXPECT_EQ(steps({640, 641}), (std::vector<BudgetSteps>{{10, 8}, {11, 9}}));
  EXPECT_EQ(error_of([&] {
              steps({100, 128});
            }),
            "budgets[1] = 128: as many steps of 64 tokens as the one before "
            "it; expected a step more");
}

TEST(LossResult, IsALine) {
  LossResult there{.study = "s",
                   .run = "cp/seed-1/budget-9",
                   .model = "cp",
                   .form = "cp",
                   .seed = 1,
                   .branched = true,
                   .budget = 570,
                   .dp = 2,
                   .parameters = 1000,
                   .flops_per_target = 6000.5,
                   .first_step = 8,
                   .last_step = 9,
                   .targets = 576,
                   .loss = 2.25,
                   .command = "x \"y\"",
                   .config_hash = "0123456789abcdef"};
  EXPECT_EQ(loss_from_json(to_json(there), "line"), there);
  LossResult stable = there;
  stable.budget = 0;
  stable.loss = NAN;
  EXPECT_NE(to_json(stable).find("\"loss\":null"), std::string::npos);
  LossResult failed = there;
  failed.failed = "why";
  EXPECT_TRUE(std::isnan(loss_from_json(to_json(stable), "line").loss));
  EXPECT_EQ(error_of([] { loss_from_json("[]", "r.jsonl:2"); }),
            "r.jsonl:2: expected an object, a run of a loss study");
  EXPECT_EQ(error_of([] { loss_from_json("{}", "r.jsonl:2"); }),
            "r.jsonl:2: study = nothing: expected a text");

  const auto points = loss_points({stable, there, failed});
  ASSERT_EQ(points.size(), 1U);
  EXPECT_EQ(points[0].tokens, 576);
  EXPECT_EQ(points[0].parameters, 1000);
  EXPECT_EQ(points[0].flops(), 576 * 6000.5);
  EXPECT_EQ(points[0].loss, 2.25);
}

}  // namespace
}  // namespace mumoe::study
