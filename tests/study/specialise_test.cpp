// What experts are for: removals in one pass and one by one, and the measure
// of what they damage.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "study/experts/focus.h"
#include "study/experts/removal.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_head.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using testing::HeadOnMesh;
using testing::small_head;

constexpr std::int64_t kSamples = 61;

/// Features of `made_up_features` as the program has them: fp32.
class MadeUp final : public data::Samples {
 public:
  explicit MadeUp(const model::ModelConfig& config)
      : batch_(testing::made_up_features(config, kSamples)) {}

  std::uint64_t size() const override { return kSamples; }
  std::int64_t targets_per_sample() const override { return 1; }
  data::HostBatch make(std::span<const std::uint64_t> indices) const override {
    std::vector<float> input;
    std::vector<std::int32_t> target;
    for (const std::uint64_t index : indices) {
      const auto row = static_cast<std::int64_t>(index);
      const at::Tensor x = batch_.input[row].to(at::kFloat).contiguous();
      input.insert(input.end(),
                   x.const_data_ptr<float>(),
                   x.const_data_ptr<float>() + x.numel());
      target.push_back(batch_.target[row][0].item<std::int32_t>());
    }
    return {static_cast<std::int64_t>(indices.size()), input, target};
  }

  at::Tensor input() const { return batch_.input.to(at::kFloat); }
  at::Tensor classes() const { return batch_.target.view({-1}); }

 private:
  model::Batch batch_;
};

train::BatchList batches_of(std::uint64_t samples, std::int64_t per_batch) {
  std::vector<std::uint64_t> all(samples);
  std::iota(all.begin(), all.end(), 0);
  return train::in_batches(all, per_batch);
}

/// Σ right of each class by predictions [B].
std::vector<double> right_of(const at::Tensor& predicted,
                             const at::Tensor& classes,
                             std::int64_t count) {
  std::vector<double> right;
  for (std::int64_t c = 0; c < count; ++c) {
    right.push_back((predicted.eq(c) & classes.eq(c)).sum().item<double>());
  }
  return right;
}

TEST(Specialise, OnePassIsAsManyEvaluationsAsThereAreExperts) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const auto& [name, config] : testing::head_cases()) {
    if (config.head != model::HeadKind::mixture) continue;
    SCOPED_TRACE(name);
    HeadOnMesh head(config, *self);
    const MadeUp samples(config);
    const RoutingPass pass(head.model, {head.mesh, at::kCPU}, "a run");
    MuMoEBlock& block = *head.model.blocks()[0];
    block.scale_expert(0, 1, -0.5);
    for (std::size_t g = 0; g < pass.gates().size(); ++g) {
      const Removal removal = remove_each(head.model,
                                          pass,
                                          g,
                                          samples,
                                          batches_of(kSamples, 16),
                                          *self,
                                          {.check = true});
      EXPECT_TRUE(removal.one_pass);
      const std::int64_t experts = pass.gates()[g].experts;
      EXPECT_EQ(removal.check.predictions, experts * kSamples);
      EXPECT_EQ(removal.check.differing, 0);
      EXPECT_LT(removal.check.largest, 1e-12);
      // All samples at once, by hand.
      const ClassScores& scores = removal.scores;
      EXPECT_EQ(scores.all_targets(), kSamples);
      EXPECT_EQ(scores.with_all,
                right_of(predicted_classes(head.model.logits(samples.input())),
                         samples.classes(),
                         config.classes));
      bool any = false;
      for (std::int64_t n = 0; n < experts; ++n) {
        const auto edits = block.edits();
        block.remove_expert(pass.gates()[g].level, n);
        const auto right =
            right_of(predicted_classes(head.model.logits(samples.input())),
                     samples.classes(),
                     config.classes);
        block.set_edits(edits);
        const auto first = scores.without.begin() + n * config.classes;
        EXPECT_EQ(std::vector<double>(first, first + config.classes), right);
        any = any || right != scores.with_all;
      }
      EXPECT_TRUE(any) << "no removal changes anything here";
    }
  }
}

TEST(Specialise, WithoutItsOnlyExpertASampleHasNoPrediction) {
  const auto self = dist::make_self_communicator(at::kCPU);
  auto config = small_head("cp");
  config.mlp.gate.activation = GateActivation::top_k;
  config.mlp.gate.top_k = 1;
  HeadOnMesh head(config, *self);
  const MadeUp samples(config);
  const RoutingPass pass(head.model, {head.mesh, at::kCPU}, "a run");
  const Removal removal = remove_each(head.model,
                                      pass,
                                      0,
                                      samples,
                                      batches_of(kSamples, 16),
                                      *self,
                                      {.check = true});
  EXPECT_EQ(removal.check.differing, 0);
  const ClassScores& scores = removal.scores;
  EXPECT_EQ(std::accumulate(scores.active.begin(), scores.active.end(), 0),
            kSamples);
  double lost = 0;
  for (std::size_t n = 0; n < 6; ++n) {
    lost += (scores.score() - scores.score_without(n)) * kSamples;
  }
  EXPECT_GT(scores.score(), 0.05);
  EXPECT_NEAR(lost, scores.score() * kSamples, 1e-9)
      << "each right prediction is lost with its expert";
  const at::Tensor equal =
      predicted_classes(at::tensor({2., 2., 2., 1., 3., 3.}).view({2, 3}));
  EXPECT_EQ(equal[0].item<std::int64_t>(), -1);
  EXPECT_EQ(equal[1].item<std::int64_t>(), 1) << "the first of equal ones";
}

TEST(Specialise, HasTheSameBitsOverAnyNumberOfRanks) {
  const auto config = testing::head_cases()[3].config;
  const MadeUp samples(config);
  const auto over = [&](int dp, int tp) {
    ClassScores found;
    std::mutex mutex;
    dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
      HeadOnMesh head(config, world, tp);
      const RoutingPass pass(head.model, {head.mesh, at::kCPU}, "a run");
      auto here = remove_each(head.model,
                              pass,
                              1,
                              samples,
                              batches_of(kSamples, 16),
                              world);
      const std::lock_guard lock(mutex);
      found = std::move(here.scores);
    });
    return found;
  };
  const ClassScores one = over(1, 1);
  for (const auto& [dp, tp] : {std::pair{2, 1}, {6, 1}, {1, 2}, {2, 2}}) {
    const ClassScores several = over(dp, tp);
    EXPECT_EQ(several.targets, one.targets);
    EXPECT_EQ(several.active, one.active);
    EXPECT_EQ(several.with_all, one.with_all);
    EXPECT_EQ(several.without, one.without) << dp << " x " << tp;
  }
}

TEST(Specialise, RemovesExpertsInsideOfALanguageModel) {
  constexpr std::int64_t kContext = 8, kWindows = 5;
  const testing::ScratchFolder folder;
  const auto path = folder.path() / "tokens.bin";
  std::vector<std::uint16_t> tokens;
  for (std::uint64_t i = 0; i < kWindows * kContext + 1; ++i) {
    tokens.push_back(static_cast<std::uint16_t>(
        CounterRandom(8, Purpose::test).below(i, 19)));
  }
  data::write_token_file(path, tokens);
  const data::TokenFile file(path);
  const data::TokenWindows windows(file, kContext);

  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ProcessMesh mesh(*self, 1, 1);
  const auto cases = testing::sharded_cases();
  testing::ShardedModel model(cases[2].config,
                              Plan::bottleneck,
                              mesh.tp(),
                              at::kDouble);
  const RoutingPass pass(model.gpt2, {mesh, at::kCPU}, "a run");
  const std::size_t gate = 3;  // block 1, level 1
  const Removal removal = remove_each(model.gpt2,
                                      pass,
                                      gate,
                                      windows,
                                      batches_of(kWindows, 2),
                                      *self);
  EXPECT_FALSE(removal.one_pass);
  const at::Tensor ids =
      at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end()));
  const model::Batch batch{
      ids.narrow(0, 0, kWindows * kContext).view({kWindows, kContext}),
      ids.narrow(0, 1, kWindows * kContext).view({kWindows, kContext})};
  const at::Tensor classes = batch.target.view({-1});
  const auto sums = [&] {
    const at::Tensor losses = model.gpt2.token_losses(batch).view({-1});
    return at::zeros({19}, at::kDouble).index_add(0, classes, losses.neg());
  };
  const at::Tensor all = sums();
  for (std::int64_t c = 0; c < removal.scores.classes; ++c) {
    EXPECT_NEAR(removal.scores.with_all[c], all[c].item<double>(), 1e-8);
  }
  double largest = 0;
  MuMoEBlock& block = *model.gpt2.blocks()[1];
  for (std::int64_t n = 0; n < 5; ++n) {
    block.remove_expert(1, n);
    const at::Tensor without = sums();
    block.clear_edits();
    for (std::int64_t c = 0; c < removal.scores.classes; ++c) {
      EXPECT_NEAR(removal.scores.without[n * removal.scores.classes + c],
                  without[c].item<double>(),
                  1e-8);
    }
    largest = std::max(largest, (without - all).abs().max().item<double>());
  }
  EXPECT_GT(largest, 1e-3) << "else no expert does anything here";
}

/// Two experts and three classes of ten samples: the first takes 4 and 1 right
/// ones of two classes and gives 5 to the third, the second does nothing.
ClassScores small_scores() {
  return {.gate = {.name = "head", .experts = 2},
          .classes = 4,
          .targets = {10, 10, 10, 0},
          .with_all = {9, 8, 2, 0},
          .without = {5, 7, 7, 0, 9, 8, 2, 0},
          .active = {12, 0}};
}

TEST(Polysemanticity, IsTheDistanceOfTheDamageFromOneClass) {
  const auto change = specialisation(small_scores(), Damage::change);
  // d = 0.4, 0.1, 0.5 on three classes
  EXPECT_EQ(change.experts[0].top_class, 2);
  EXPECT_NEAR(change.experts[0].taken, -0.5, 1e-12);
  EXPECT_NEAR(*change.experts[0].polysemanticity,
              std::sqrt(0.16 + 0.01 + 0.25),
              1e-12);
  EXPECT_NEAR(change.experts[0].score_without, 19. / 30, 1e-12);
  EXPECT_FALSE(change.experts[1].polysemanticity);
  EXPECT_EQ(change.skipped, 1);
  EXPECT_NEAR(*change.mean, std::sqrt(0.42), 1e-12);
  EXPECT_FALSE(change.interval) << "of one expert there is none";
  const auto drop = specialisation(small_scores(), Damage::drop);
  EXPECT_EQ(drop.experts[0].top_class, 0);
  EXPECT_NEAR(*drop.mean, std::sqrt(0.04 + 0.04), 1e-12);

  EXPECT_EQ(polysemanticity(std::vector{0., 3., 0.}), 0) << "one class";
  EXPECT_NEAR(*polysemanticity(std::vector{2., 2., 2., 2.}),
              std::sqrt(1 - 1. / 4),
              1e-12)
      << "evenly";
  EXPECT_FALSE(polysemanticity(std::vector{0., 0.}));
  EXPECT_EQ(testing::error_of([] { damage_named("loss"); }),
            "--damage loss: expected change or drop");
}

TEST(Bootstrap, IsAsWideAsTheErrorOfAMean) {
  std::vector<double> values;
  for (std::uint64_t i = 0; i < 400; ++i) {
    values.push_back(CounterRandom(3, Purpose::test).normal(i));
  }
  const auto interval = bootstrap_mean(values);
  ASSERT_TRUE(interval);
  const double mean = mean_of(values);
  EXPECT_LT(interval->low, mean);
  EXPECT_GT(interval->high, mean);
  EXPECT_NEAR(interval->high - interval->low, 2 * 1.645 / 20, 0.03);
  EXPECT_EQ(bootstrap_mean(values)->low, interval->low) << "drawn alike";
  EXPECT_FALSE(bootstrap_mean(std::vector{1.}));
}

}  // namespace
}  // namespace mumoe::study
