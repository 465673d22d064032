#include "study/loss/loss_law.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "study/loss/law_draws.h"
#include "study/loss/loss_analysis.h"
#include "tests/study/synthetic_losses.h"
#include "tests/support/errors.h"

namespace mumoe::study {
namespace {

using testing::expect_input_error;

/// Parameters within `share` of those of `law`.
void expect_law(const LawFit& fit, const LossLaw& law, double share) {
  ASSERT_TRUE(fit.law) << fit.why_not;
  EXPECT_NEAR(fit.law->E, law.E, share * law.E);
  EXPECT_NEAR(fit.law->A, law.A, 10 * share * law.A);
  EXPECT_NEAR(fit.law->alpha, law.alpha, share * law.alpha);
  EXPECT_NEAR(fit.law->B, law.B, 10 * share * law.B);
  EXPECT_NEAR(fit.law->beta, law.beta, share * law.beta);
}

TEST(LossLaw, IsRecoveredFromExactLosses) {
  expect_law(fit_loss_law(synthetic_losses({})), kHoffmann, 1e-3);
  SyntheticLosses small;
  small.law = {1.2, 8, 0.25, 300, 0.45};
  small.sizes = {2e4, 6e4, 2e5, 8e5};
  small.tokens = {1.2e6, 2.4e6, 4.8e6};
  expect_law(fit_loss_law(synthetic_losses(small)), small.law, 1e-3);
}

TEST(LossLaw, IsRecoveredFromNoisyLosses) {
  // Half a per cent of noise, over ranges of 100 in size and in tokens.
  SyntheticLosses what;
  what.sizes = {2e7, 6e7, 2e8, 6e8, 2e9};
  what.tokens = {5e8, 1.5e9, 5e9, 1.5e10, 5e10};
  what.noise = 0.005;
  const auto fit = fit_loss_law(synthetic_losses(what));
  ASSERT_TRUE(fit.law) << fit.why_not;
  EXPECT_NEAR(fit.law->E, kHoffmann.E, 0.15);
  EXPECT_NEAR(fit.law->alpha, kHoffmann.alpha, 0.05);
  EXPECT_NEAR(fit.law->beta, kHoffmann.beta, 0.05);
  EXPECT_NEAR(fit.law->size_exponent(), kHoffmann.size_exponent(), 0.06);
  EXPECT_NEAR(fit.law->at(5e8, 1e10), kHoffmann.at(5e8, 1e10), 0.01);
}

TEST(LossLaw, OneRunThatWentWrongHardlyMovesIt) {
  auto points = synthetic_losses({});
  points[7].loss *= 1.3;
  expect_law(fit_loss_law(points), kHoffmann, 0.02);
}

TEST(LossLaw, OptimumIsTheLeastAtItsFlops) {
  const double flops = 1e21, factor = 6.5;
  const Optimum best = optimum(kHoffmann, flops, factor);
  EXPECT_NEAR(best.parameters * best.tokens * factor / flops, 1, 1e-12);
  for (const double other : {0.97, 1.03}) {
    EXPECT_LT(best.loss,
              kHoffmann.at(best.parameters * other, best.tokens / other));
  }
  const Optimum more = optimum(kHoffmann, 100 * flops, factor);
  EXPECT_NEAR(std::log10(more.parameters / best.parameters) / 2,
              kHoffmann.size_exponent(),
              1e-12);
  EXPECT_NEAR(kHoffmann.size_exponent(), 0.28 / 0.62, 1e-12);
  EXPECT_NEAR(flops_for(kHoffmann, best.loss, factor) / flops, 1, 1e-9);
  EXPECT_TRUE(std::isinf(flops_for(kHoffmann, kHoffmann.E, factor)));
}

TEST(LossLaw, TooFewPointsHaveNoneAndSayWhy) {
  const auto why = [](const SyntheticLosses& what) {
    const auto fit = fit_loss_law(synthetic_losses(what));
    EXPECT_FALSE(fit.law);
    return fit.why_not;
  };
  SyntheticLosses what;
  what.sizes = {1e8};
  EXPECT_EQ(why(what), "1 size: alpha takes at least 3");
  what.sizes = {1e8, 2e8};
  EXPECT_EQ(why(what), "2 sizes: alpha takes at least 3");
  what.sizes = {1e8, 2e8, 4e8};
  what.tokens = {1e9, 2e9};
  EXPECT_EQ(why(what), "2 numbers of tokens: beta takes at least 3");
  // Five cells, on a cross; many seeds tell nothing more.
  what.tokens = {1e9, 2e9, 4e9};
  what.seeds = 3;
  auto points = synthetic_losses(what);
  std::erase_if(points, [](const LossPoint& point) {
    return point.parameters != 2e8 && point.tokens != 2e9;
  });
  EXPECT_EQ(fit_loss_law(points).why_not,
            "5 cells of size and tokens: a law of 5 parameters takes at least "
            "6");
  EXPECT_TRUE(draw_laws(points).draws.empty());
}

TEST(LossLaw, LossesThatDoNotFallHaveNoExponent) {
  SyntheticLosses what;
  what.law.A = 0;
  EXPECT_EQ(fit_loss_law(synthetic_losses(what)).why_not,
            "the loss does not fall with parameters, so alpha is not known");
  what.law = kHoffmann;
  auto points = synthetic_losses(what);
  for (LossPoint& point : points) point.loss = 3 + point.tokens / 1e11;
  const auto fit = fit_loss_law(points);
  EXPECT_FALSE(fit.law);
  EXPECT_NE(fit.why_not, "");
}

TEST(LossLaw, PointsThatAreNoneAreRefusedByName) {
  const auto refused =
      [](double LossPoint::*member, double value, const std::string& what) {
        auto points = synthetic_losses({});
        points[5].*member = value;
        const auto refuse = [&](const auto& action) {
          expect_input_error(action,
                             {"dense-200, 4000000000 tokens, seed 0: " + what});
        };
        refuse([&] { fit_loss_law(points); });
        // One without a loss is left out of it.
        if (member != &LossPoint::loss) {
          refuse([&] { analyse_losses(points); });
        }
      };
  refused(&LossPoint::loss, std::nan(""), "loss is nan");
  refused(&LossPoint::loss,
          std::numeric_limits<double>::infinity(),
          "loss is inf");
  refused(&LossPoint::parameters, 0, "parameters is 0");
  refused(&LossPoint::flops_per_token, -1, "FLOPs a token is -1");
  expect_input_error([] { check_points({}); }, {"no losses"});
  auto points = synthetic_losses({});
  points[0].form = "cp";
  expect_input_error([&] { loss_curves(points); }, {"model dense-100", "cp"});
}

TEST(LawDraws, AreTheSameAgainAndOthersOfAnotherSeed) {
  SyntheticLosses what;
  what.noise = 0.01;
  what.seeds = 2;
  const auto points = synthetic_losses(what);
  const auto one = draw_laws(points, {30, 1}), two = draw_laws(points, {30, 1});
  const auto other = draw_laws(points, {30, 2});
  ASSERT_EQ(one.draws.size(), two.draws.size());
  ASSERT_GE(one.draws.size(), 20u);
  for (std::size_t i = 0; i < one.draws.size(); ++i) {
    EXPECT_EQ(one.draws[i].alpha, two.draws[i].alpha);
    EXPECT_EQ(one.draws[i].E, two.draws[i].E);
  }
  EXPECT_EQ(one.draws.size() + static_cast<std::size_t>(one.failed), 30u);
  EXPECT_NE(one.draws[0].alpha, other.draws[0].alpha);
  EXPECT_EQ(one.fit.law->alpha, other.fit.law->alpha);
}

TEST(LawDraws, PercentilesAreThoseOfTheDraws) {
  std::vector<double> values;
  for (int i = 100; i >= 0; --i) values.push_back(i);
  const auto range = range_of(values);
  ASSERT_TRUE(range);
  EXPECT_DOUBLE_EQ(range->low, 5);
  EXPECT_DOUBLE_EQ(range->high, 95);
  EXPECT_FALSE(range_of({1, 2, 3}));
  for (double& value : values) {
    if (value > 90) value = std::numeric_limits<double>::infinity();
  }
  EXPECT_TRUE(std::isinf(range_of(values)->high));
}

/// Of 40 studies of a known law, in how many an interval holds the truth.
TEST(LawDraws, IntervalsHoldTheTruth) {
  SyntheticLosses what;
  what.sizes = {2e7, 6e7, 2e8, 6e8, 2e9};
  what.tokens = {5e8, 1.5e9, 5e9, 1.5e10, 5e10};
  what.noise = 0.005;
  int exponent = 0, size = 0, loss = 0;
  const auto holds = [&](const DrawnLaw& law, const auto& of) {
    const auto range = law.range(of);
    const double truth = of(kHoffmann);
    return range && range->low <= truth && truth <= range->high ? 1 : 0;
  };
  for (int study = 0; study < 40; ++study) {
    what.random = static_cast<std::uint64_t>(study);
    const auto law = draw_laws(synthetic_losses(what), {60, 1});
    exponent += holds(law, [](auto& each) { return each.alpha; });
    size += holds(law, [](auto& each) { return each.size_exponent(); });
    loss += holds(law, [](auto& each) { return each.at(1e9, 2e10); });
  }
  // Of intervals of 90 %, 36 of 40 are expected.
  EXPECT_GE(exponent, 32);
  EXPECT_GE(size, 32);
  EXPECT_GE(loss, 32);
  RecordProperty("exponent", exponent);
  RecordProperty("size", size);
  RecordProperty("loss", loss);
}

TEST(LossCells, LieBetweenMeasuredOnesAlone) {
  SyntheticLosses what;
  what.law = {1e-9, 1, 0.5, 1e-9, 1};  // straight in logarithms
  const auto points = synthetic_losses(what);
  const auto curves = loss_curves(points);
  ASSERT_EQ(curves.size(), 5u);
  const auto between = loss_between(curves, 3e8, 3e9);
  ASSERT_TRUE(between);
  EXPECT_NEAR(between->loss() / std::pow(3e8, -0.5), 1, 1e-4);
  EXPECT_FALSE(loss_between(curves, 0.9e8, 3e9));
  EXPECT_FALSE(loss_between(curves, 3e8, 17e9));
  EXPECT_TRUE(loss_between(curves, 0.97e8, 3e9));
  EXPECT_EQ(loss_between(curves, 2e8, 4e9)->parts.size(), 1u);
}

TEST(LossCells, SeedsMakeTheNoise) {
  SyntheticLosses what;
  what.seeds = 3;
  what.noise = 0.01;
  const auto curves = loss_curves(synthetic_losses(what));
  const SeedNoise noise = seed_noise(curves);
  EXPECT_EQ(noise.degrees, 40);
  EXPECT_NEAR(noise.deviation, 0.01, 0.003);
  BetweenLosses sum;
  sum.parts = {{&curves[0].cells[0], 1}, {&curves[0].cells[1], -1}};
  const double half = *noise.half_width(sum);
  EXPECT_NEAR(half, 1.684 * noise.deviation * std::sqrt(2. / 3), 1e-4);
  // The same cell twice is no second measurement.
  sum.parts = {{&curves[0].cells[0], 0.5},
               {&curves[0].cells[1], -1},
               {&curves[0].cells[0], 0.5}};
  EXPECT_NEAR(*noise.half_width(sum), half, 1e-12);
  const auto single = loss_curves(synthetic_losses({}));
  EXPECT_EQ(seed_noise(single).degrees, 0);
  EXPECT_FALSE(seed_noise(single).half_width(sum));
}

TEST(IsoFlops, ParabolaAndLawFindTheLeast) {
  // Budgets of FLOPs, so that each size has tokens of its own.
  std::vector<LossPoint> points;
  for (const double size : {1e8, 2e8, 4e8, 8e8, 1.6e9, 3.2e9}) {
    for (const double flops : {2e19, 6e19, 2e20}) {
      SyntheticLosses what;
      what.sizes = {size};
      what.tokens = {flops / (6 * size)};
      points.push_back(synthetic_losses(what)[0]);
    }
  }
  const auto all = analyse_losses(points, {20, 1});
  ASSERT_EQ(all.iso_flops.size(), 1u);
  ASSERT_EQ(all.iso_flops[0].size(), 3u);
  for (const IsoFlop& iso : all.iso_flops[0]) {
    EXPECT_EQ(iso.measured.size(), 6u);
    const Optimum truth = optimum(kHoffmann, iso.flops, 6);
    ASSERT_TRUE(iso.best && iso.found);
    EXPECT_TRUE(iso.measured_size);
    EXPECT_NEAR(iso.best->parameters / truth.parameters, 1, 0.01);
    // Only a parabola near its minimum.
    EXPECT_NEAR(iso.found->parameters / truth.parameters, 1, 0.3);
    EXPECT_NEAR(iso.found->loss, truth.loss, 0.02);
  }
}

TEST(FormComparison, FindsHowMuchLessComputeAFormTakes) {
  // The other form is as a dense model of twice the size, after as many
  // tokens.
  SyntheticLosses dense, cp;
  for (SyntheticLosses* what : {&dense, &cp}) {
    what->seeds = 3;
    what->noise = 1e-3;
  }
  cp.form = "cp";
  cp.random = 2;
  cp.law.A *= std::pow(2, -cp.law.alpha);
  auto points = synthetic_losses(cp);
  for (const LossPoint& point : synthetic_losses(dense)) {
    points.push_back(point);
  }
  const auto all = analyse_losses(points, {60, 1});
  ASSERT_EQ(all.forms.size(), 2u);
  EXPECT_EQ(all.forms[0].form, "dense");
  ASSERT_EQ(all.comparisons.size(), 1u);
  const FormComparison& found = all.comparisons[0];
  EXPECT_EQ(found.cells.size(), 20u);
  for (const LossDifference& cell : found.cells) {
    const double truth = cp.law.at(cell.parameters, cell.tokens) -
                         kHoffmann.at(cell.parameters, cell.tokens);
    EXPECT_NEAR(cell.difference(), truth, 0.01);
    ASSERT_TRUE(cell.range && cell.laws_range);
    EXPECT_LT(cell.range->high, 0);
    EXPECT_NEAR(*cell.by_laws, truth, 0.01);
  }
  ASSERT_TRUE(found.mean && found.mean_range);
  EXPECT_LT(found.mean_range->high, 0);
  ASSERT_EQ(found.multipliers.size(), 3u);
  for (const ComputeMultiplier& each : found.multipliers) {
    EXPECT_NEAR(each.times, 2, 0.4);
    ASSERT_TRUE(each.range);
    // At the edge of an interval of 90 % is where one of ten truths lies.
    EXPECT_LT(each.range->low, 2.05);
    EXPECT_GT(each.range->high, 1.95);
    EXPECT_LT(each.range->high - each.range->low, 0.8);
  }
}

TEST(FormComparison, NoCommonSizesOrTokensCompareNothing) {
  SyntheticLosses dense, cp;
  cp.form = "cp";
  cp.sizes = {4e9, 8e9, 16e9};
  auto points = synthetic_losses(dense);
  for (const LossPoint& point : synthetic_losses(cp)) points.push_back(point);
  const auto all = analyse_losses(points, {20, 1});
  EXPECT_TRUE(all.comparisons[0].cells.empty());
  EXPECT_FALSE(all.comparisons[0].mean);
}

}  // namespace
}  // namespace mumoe::study
