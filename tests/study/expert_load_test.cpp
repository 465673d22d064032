#include "study/experts/expert_load.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using testing::error_of;
using testing::ShardedModel;

constexpr std::int64_t kContext = 8;
constexpr std::int64_t kWindows = 13;
constexpr double kThreshold = 0.3;

/// Windows of a text about nothing.
struct Material {
  testing::ScratchFolder folder;
  data::TokenFile tokens = make(folder.path() / "tokens.bin");
  data::TokenWindows windows{tokens, kContext};
  std::vector<std::uint64_t> indices = [] {
    std::vector<std::uint64_t> all(kWindows);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }();

  static data::TokenFile make(const std::filesystem::path& path) {
    const CounterRandom random(8, Purpose::test);
    std::vector<std::uint16_t> tokens;
    for (std::uint64_t i = 0; i < kWindows * kContext + 1; ++i) {
      tokens.push_back(static_cast<std::uint16_t>(random.below(i, 19)));
    }
    data::write_token_file(path, tokens);
    return data::TokenFile(path);
  }
};

const model::ModelConfig& config_of(const std::string& name) {
  static const auto cases = testing::sharded_cases();
  return std::ranges::find(cases, name, &testing::ShardedCase::name)->config;
}

/// The load of each gate of a model, over dp x tp ranks.
std::vector<GateLoad> load_of(const std::string& name, int dp, int tp) {
  const Material material;
  std::vector<GateLoad> found;
  std::mutex mutex;
  dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, dp, tp);
    ShardedModel model(config_of(name),
                       Plan::bottleneck,
                       mesh.tp(),
                       at::kFloat);
    const RoutingPass pass(model.gpt2, {mesh, at::kCPU}, "a run");
    ExpertLoad load(pass.gates(), kThreshold);
    pass.run(material.windows,
             train::in_batches(material.indices, 4),
             [&](const RoutedBatch& batch) { load.add(batch); });
    auto here = load.finish(mesh.control(), pass.tells());
    const std::lock_guard lock(mutex);
    found = std::move(here);
  });
  return found;
}

TEST(ExpertLoad, IsThatOfTheCoefficients) {
  const Material material;
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel model(config_of("cp_7_two_levels"),
                     Plan::bottleneck,
                     *self,
                     at::kFloat);
  std::vector<std::vector<at::Tensor>> seen(model.gpt2.mixtures().size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    model.gpt2.mixtures()[i]->watch([&, i](const auto& a) { seen[i] = a; });
  }
  const auto made = material.windows.make(material.indices);
  const auto& ids = std::get<std::vector<std::int32_t>>(made.input);
  const at::Tensor input =
      at::tensor(ids, at::kLong).reshape({kWindows, kContext});
  model.gpt2.token_losses({input, input});

  const auto loads = load_of("cp_7_two_levels", 1, 1);
  ASSERT_EQ(loads.size(), 4u) << "two blocks of two levels";
  EXPECT_EQ(loads[0].gate.name, "h.0.mlp level 0");
  EXPECT_EQ(loads[3].gate.name, "h.1.mlp level 1");
  for (std::size_t g = 0; g < loads.size(); ++g) {
    const GateLoad& load = loads[g];
    const at::Tensor a_TN = seen[g / 2][g % 2].to(at::kDouble);
    EXPECT_EQ(load.tokens, kWindows * kContext);
    EXPECT_EQ(load.samples, kWindows);
    const at::Tensor active = (a_TN > 0).sum(0);
    const at::Tensor chosen = a_TN >= kThreshold;
    const at::Tensor samples =
        chosen.reshape({kWindows, kContext, -1}).any(1).sum(0);
    for (std::int64_t n = 0; n < load.gate.experts; ++n) {
      EXPECT_EQ(load.active[n], active[n].item<std::int64_t>());
      EXPECT_EQ(load.chosen[n], chosen.sum(0)[n].item<std::int64_t>());
      EXPECT_EQ(load.chosen_samples[n], samples[n].item<std::int64_t>());
      EXPECT_NEAR(load.mean[n], a_TN.mean(0)[n].item<double>(), 1e-10);
    }
    const at::Tensor entropy = -at::xlogy(a_TN, a_TN).sum(1).mean();
    EXPECT_NEAR(load.token_entropy, entropy.item<double>(), 1e-9);
    EXPECT_EQ(load.dead(), (active == 0).sum().item<std::int64_t>());
    EXPECT_GT(load.active_share(), 0.1);
    EXPECT_LT(load.active_share(), 1) << "else nothing is sparse here";
    EXPECT_LE(load.effective_experts(),
              static_cast<double>(load.gate.experts) + 1e-9);
  }
}

TEST(ExpertLoad, HasTheSameBitsOverAnyNumberOfRanks) {
  for (const std::string name : {"cp_23", "tr_3_2_6_two_levels"}) {
    const auto one = load_of(name, 1, 1);
    for (const int dp : {2, 3}) {
      const auto several = load_of(name, dp, 1);
      for (std::size_t g = 0; g < one.size(); ++g) {
        EXPECT_EQ(several[g].tokens, one[g].tokens);
        EXPECT_EQ(several[g].active, one[g].active);
        EXPECT_EQ(several[g].chosen_samples, one[g].chosen_samples);
        EXPECT_EQ(several[g].mean, one[g].mean) << dp << " ranks";
        EXPECT_EQ(several[g].token_entropy, one[g].token_entropy);
      }
    }
    const auto cut = load_of(name, 1, 2);
    for (std::size_t g = 0; g < one.size(); ++g) {
      EXPECT_EQ(cut[g].tokens, one[g].tokens) << "counted once";
      EXPECT_NEAR(cut[g].token_entropy, one[g].token_entropy, 1e-5);
    }
  }
}

TEST(ExpertLoad, RefusesAModelWithoutExperts) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel dense(config_of("dense"), Plan::bottleneck, *self, at::kFloat);
  EXPECT_EQ(error_of([&] { gates_of(dense.gpt2, "runs/dense"); }),
            "runs/dense: its model has no experts (model.mlp = dense); "
            "expected cp, tr, tt or tucker");
  EXPECT_EQ(error_of([&] { ExpertLoad({}, 1.5); }),
            "--threshold 1.5: expected a coefficient above 0, at most 1");
}

TEST(ExactSums, DependOnNoOrder) {
  const CounterRandom random(8, Purpose::test);
  ExactSums forth(1), back(1);
  double sum = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    forth.add(0, random.normal(i) * std::pow(10.0, i % 7));
    back.add(0, random.normal(999 - i) * std::pow(10.0, (999 - i) % 7));
    sum += random.normal(i) * std::pow(10.0, i % 7);
  }
  EXPECT_EQ(forth.of(0), back.of(0));
  EXPECT_NEAR(forth.of(0), sum, 1e-6);
}

}  // namespace
}  // namespace mumoe::study
