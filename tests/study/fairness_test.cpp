// What is fair, and what makes decisions fairer.
#include "study/experts/fairness.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include "study/experts/retrained_head.h"
#include "study/experts/thresholding.h"
#include "tests/study/error_of.h"
#include "tests/support/small_head.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using testing::error_of;

/// Ten samples of each subgroup, of which `right` are decided rightly; by
/// `Subgroup::place`.
JudgedSamples judged_with(const std::array<int, 4>& right) {
  JudgedSamples judged;
  for (std::uint8_t place = 0; place < 4; ++place) {
    for (int i = 0; i < 10; ++i) {
      const bool target = place >= 2;
      judged.target.push_back(target);
      judged.group.push_back(place % 2);
      judged.margin.push_back((i < right[place]) == target ? 1 : -1);
    }
  }
  return judged;
}

std::vector<std::size_t> all_of(const JudgedSamples& judged) {
  std::vector<std::size_t> all(judged.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

const Shift kNone = [](std::size_t) { return 0.0; };

TEST(Fairness, IsOfFourSubgroups) {
  // neither 10, group alone 8, target alone 9, both 5
  const auto judged = judged_with({10, 8, 9, 5});
  const Fairness found = fairness(judged, all_of(judged), {true, true}, kNone);
  EXPECT_NEAR(found.opportunity, 0.4, 1e-12);
  EXPECT_NEAR(found.worst, 0.5, 1e-12);
  EXPECT_NEAR(found.subpopulation, 0.5, 1e-12);
  EXPECT_NEAR(found.accuracy, 0.8, 1e-12);
  EXPECT_NEAR(found.deviation, std::sqrt((0.04 + 0 + 0.01 + 0.09) / 4), 1e-12);
  EXPECT_NEAR(
      fairness(judged, all_of(judged), {false, true}, kNone).subpopulation,
      0.8,
      1e-12);
  // Without one subgroup nothing is said of it.
  auto some = all_of(judged);
  some.resize(30);
  const Fairness without = fairness(judged, some, {true, true}, kNone);
  EXPECT_TRUE(std::isnan(without.worst));
  EXPECT_NEAR(without.accuracy, 0.9, 1e-12);
  EXPECT_EQ(error_of([] { fairness_figure("best"); }),
            "--choose best: expected one of opportunity, deviation, worst, "
            "subpopulation, accuracy");
}

TEST(Fairness, IntervalsHoldTheFigures) {
  const auto judged = judged_with({10, 8, 9, 5});
  const FairnessFound found =
      fairness_found(judged, all_of(judged), {true, true}, {&kNone, 1});
  for (std::size_t f = 0; f < kFairnessFigures; ++f) {
    const double value = found.figures.*fairness_figures()[f].value;
    ASSERT_TRUE(found.intervals[f]);
    EXPECT_LE(found.intervals[f]->low, value + 1e-12);
    EXPECT_GT(found.intervals[f]->high, found.intervals[f]->low);
  }
  // Of 40 with 0.8: 1.645 √(0.8 · 0.2 / 40) to both sides.
  EXPECT_NEAR(found.intervals[4]->high - found.intervals[4]->low, 0.208, 0.06);
}

/// Two experts; the subpopulation's samples are routed to the first, all others
/// to the second, and of those who belong to the target only they are refused.
TEST(Thresholding, HelpsThoseThatAreRoutedLikeTheSubpopulation) {
  JudgedSamples judged = judged_with({10, 10, 10, 0});
  Coefficients coefficients{.experts = 2};
  for (std::size_t i = 0; i < judged.size(); ++i) {
    const bool first = judged.subgroup(i) == 3;
    coefficients.of_samples.push_back(first ? 1 : 0);
    coefficients.of_samples.push_back(first ? 0 : 1);
  }
  coefficients.subpopulation = {1, 0};
  coefficients.everyone = {0.25, 0.75};
  const auto all = all_of(judged);
  const auto expert = [&](double lambda) {
    return expert_shift(coefficients, coefficients.subpopulation, lambda);
  };
  const auto lambdas = usual_lambdas(2);
  EXPECT_EQ(lambdas[0], 0);
  EXPECT_EQ(std::ranges::count(lambdas, -2), 1);
  const double lambda = best_lambda(judged,
                                    all,
                                    {true, true},
                                    {fairness_figure("worst"), 1},
                                    lambdas,
                                    expert);
  EXPECT_NEAR(lambda, std::sqrt(2), 1e-12) << "the smallest above 1";
  const Fairness fair = fairness(judged, all, {true, true}, expert(lambda));
  EXPECT_EQ(fair.worst, 1);
  // What costs others too much is not chosen.
  const auto harms = [&](double size) {
    return [size](std::size_t) { return size; };
  };
  const Choice cheap{fairness_figure("subpopulation"), 0.2};
  EXPECT_EQ(best_lambda(judged, all, {true, true}, cheap, lambdas, harms), 0);
  const Choice dear{fairness_figure("subpopulation"), 1};
  EXPECT_GT(best_lambda(judged, all, {true, true}, dear, lambdas, harms), 1);
  // A blind one helps them as far as it harms others.
  const auto blind = [&](double size) {
    return blind_shift(coefficients, size);
  };
  EXPECT_NEAR(blind(8)(3), 2, 1e-12) << "8 · 1 · 0.25";
  double best = 0;
  for (const double size : lambdas) {
    best =
        std::max(best, fairness(judged, all, {true, true}, blind(size)).worst);
  }
  EXPECT_EQ(best, 0);
  const auto mean = std::vector<double>{0.5, 0.3, 0.2, 0};
  auto drawn = permuted(mean, 4);
  EXPECT_EQ(permuted(mean, 4), drawn);
  std::ranges::sort(drawn, std::greater<>());
  EXPECT_EQ(drawn, mean);
  const Halves halves = halves_of(1000);
  EXPECT_NEAR(static_cast<double>(halves.choosing.size()), 500, 60);
  EXPECT_EQ(halves.choosing.size() + halves.telling.size(), 1000u);
}

constexpr std::uint64_t kTrained = 400;

/// Two features: the first says the class, in noise, the second the group, and
/// 95 of 100 samples of the group are of class 1.
class Biased final : public data::Samples {
 public:
  std::uint64_t size() const override { return kTrained; }
  std::int64_t targets_per_sample() const override { return 1; }
  static bool group(std::uint64_t i) { return i % 2 == 0; }
  static int label(std::uint64_t i) {
    const bool rare = i / 2 % 20 == 0;
    return group(i) != rare;
  }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<float> input;
    std::vector<std::int32_t> target;
    const CounterRandom random(3, Purpose::test);
    for (const std::uint64_t index : indices) {
      const std::uint64_t i = index % kTrained;
      target.push_back(label(i));
      input.push_back(
          static_cast<float>(2 * label(i) - 1 + 1.2 * random.normal(i)));
      input.push_back(group(i) ? 1.f : -1.f);
    }
    return {static_cast<std::int64_t>(indices.size()), input, target};
  }
};

TEST(GroupedSamples, HasAsManyOfEveryPairAsOfTheMostFrequent) {
  const Biased biased;
  std::vector<std::uint8_t> groups;
  for (std::uint64_t i = 0; i < kTrained; ++i)
    groups.push_back(Biased::group(i));
  const GroupedSamples plain(biased, groups, 1, false);
  EXPECT_EQ(plain.size(), kTrained);
  const GroupedSamples even(biased, groups, 1, true);
  EXPECT_EQ(even.size(), 4u * 190);
  std::vector<std::uint64_t> all(even.size());
  std::iota(all.begin(), all.end(), 0);
  const auto batch = even.make(all);
  const auto& targets = std::get<std::vector<std::int32_t>>(batch.target);
  std::array<int, 4> counts{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    counts[static_cast<std::size_t>(2 * targets[2 * i] + targets[2 * i + 1])]++;
  }
  EXPECT_EQ(counts, (std::array<int, 4>{190, 190, 190, 190}));
}

/// How much more a head gives to the group than to others of the same class,
/// mean of the differences between logits.
double favour_of(const Retraining& how, int ranks) {
  model::ModelConfig config = testing::small_head("cp");
  config.features = 2;
  config.classes = 2;
  run::Options recipe;
  recipe.family = "head";
  recipe.model = config;
  recipe.trainer.batch = 40;
  recipe.trainer.seed = 5;
  recipe.schedule.lr = 2e-2;
  const Biased biased;
  std::vector<std::uint8_t> groups;
  for (std::uint64_t i = 0; i < kTrained; ++i)
    groups.push_back(Biased::group(i));
  double favour = 0;
  std::mutex mutex;
  dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, ranks, 1);
    const RetrainedHead head(recipe,
                             /*steps=*/120,
                             biased,
                             groups,
                             how,
                             mesh,
                             at::kDouble,
                             at::kCPU);
    const at::Tensor x = at::tensor({0.f, 1.f, 0.f, -1.f}).view({2, 2});
    const at::Tensor logits = head.model().logits(x);
    const at::Tensor margin = logits.select(1, 1) - logits.select(1, 0);
    const std::lock_guard lock(mutex);
    favour = (margin[0] - margin[1]).item<double>();
  });
  return favour;
}

TEST(RetrainedHead, FavoursAGroupLessWhereItIsTrainedToBeFair) {
  const double plain = favour_of({.target = 1}, 1);
  const double even = favour_of({.oversample = true, .target = 1}, 1);
  const double fair = favour_of({.adversary = 2, .target = 1}, 1);
  EXPECT_GT(plain, 1);
  EXPECT_LT(std::abs(even), plain / 2);
  EXPECT_LT(std::abs(fair), plain * 0.8);
  EXPECT_NEAR(favour_of({.oversample = true, .target = 1}, 2), even, 1e-6)
      << "the same on two ranks";
  EXPECT_NEAR(favour_of({.adversary = 2, .target = 1}, 2), fair, 1e-6);
}

}  // namespace
}  // namespace mumoe::study
