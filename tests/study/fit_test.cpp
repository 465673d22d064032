// Rates found again from what they make.
#include "study/predict/fit.h"

#include <gtest/gtest.h>

#include <cmath>

#include "study/predict/machine.h"
#include "tests/study/synthetic_runs.h"

namespace mumoe::study {
namespace {

TEST(Fit, FindsWhatMadeTheMeasurements) {
  const std::vector<double> xs = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<double> measured;
  for (const double x : xs) measured.push_back(3 * x * x + 0.5);
  const auto predict = [&](std::span<const double> values) {
    std::vector<double> all;
    for (const double x : xs) all.push_back(values[0] * x * x + values[1]);
    return all;
  };
  const std::vector<Unknown> unknowns = {{1, 0.01, 100}, {10, 0.01, 100}};
  FitOptions options;
  options.prior = 1e-4;
  const auto found = fit(predict, measured, unknowns, options);
  EXPECT_NEAR(found[0], 3, 1e-4);
  EXPECT_NEAR(found[1], 0.5, 1e-4);
  EXPECT_EQ(fit(predict, measured, unknowns, options), found);
  // A measurement that went wrong moves them little.
  measured[3] *= 5;
  const auto robust = fit(predict, measured, unknowns, options);
  EXPECT_NEAR(robust[0], 3, 0.15);
  // A bound holds, and the others make the best of it.
  measured[3] /= 5;
  const std::vector<Unknown> bounded = {{1, 0.01, 2}, {10, 0.01, 100}};
  const auto held = fit(predict, measured, bounded, options);
  EXPECT_DOUBLE_EQ(held[0], 2);
  EXPECT_GT(held[1], 0.5);
}

TEST(Fit, StaysWhereNothingIsMeasured) {
  const Rates rates = fit_rates({}, Machines().named("a100-80g"));
  EXPECT_DOUBLE_EQ(rates.product_share, Rates{}.product_share);
  EXPECT_DOUBLE_EQ(rates.step, Rates{}.step);
}

TEST(Fit, FindsTheRatesOfAMachine) {
  const Machine machine = Machines().named("a100-80g");
  Rates rates;
  rates.product_share = 0.62;
  rates.product_ramp = 150;
  rates.memory_share = 0.7;
  rates.launch = 3.1;
  rates.ring_step = 4;
  rates.micro_step = 2;
  std::vector<MeasuredStep> steps;
  for (const MeasuredRun& run : synthetic_runs(machine, rates)) {
    steps.push_back({dense_gpt_work(run, machine), run.milliseconds * 1e-3});
  }
  const Rates found = fit_rates(steps, machine);
  for (const MeasuredStep& step : steps) {
    const double again = step_time(step.work, machine, found).total();
    EXPECT_NEAR(again / step.seconds, 1, 0.02);
  }
  EXPECT_NEAR(found.product_share, rates.product_share, 0.03);
  EXPECT_NEAR(found.launch, rates.launch, 0.1);
  EXPECT_NEAR(found.ring_step, rates.ring_step, 0.5);
}

}  // namespace
}  // namespace mumoe::study
