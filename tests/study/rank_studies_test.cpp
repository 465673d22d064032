// Studies of ranks: of trained matrices, and of layers by their sizes.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <numeric>

#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "study/experts/layer_costs.h"
#include "study/experts/rank_sweep.h"
#include "study/experts/singular_values.h"
#include "tests/study/error_of.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_head.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

using at::Tensor;
using testing::ShardedModel;

const model::ModelConfig& config_of(const std::string& name) {
  static const auto cases = testing::sharded_cases();
  return std::ranges::find(cases, name, &testing::ShardedCase::name)->config;
}

std::vector<std::string> names_of(const std::vector<WeightMatrix>& matrices) {
  std::vector<std::string> names;
  for (const WeightMatrix& each : matrices) names.push_back(each.name);
  return names;
}

TEST(SingularValues, AreOfEveryLinearLayerOrFactor) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel dense(config_of("dense"), Plan::bottleneck, *self, at::kDouble);
  const auto linear =
      weight_matrices(dense.gpt2, dense.registry, Matrices::linear);
  EXPECT_EQ(names_of(linear),
            (std::vector<std::string>{"h.0.attn.qkv",
                                      "h.0.attn.proj",
                                      "h.0.mlp.fc",
                                      "h.0.mlp.proj",
                                      "h.1.attn.qkv",
                                      "h.1.attn.proj",
                                      "h.1.mlp.fc",
                                      "h.1.mlp.proj"}));
  EXPECT_EQ(linear[0].rows, 48);
  EXPECT_EQ(linear[0].columns, 16);
  EXPECT_EQ(linear[0].values(), 16);
  EXPECT_EQ(linear[0].kept(1), 1);
  EXPECT_EQ(linear[0].kept(25), 4);
  EXPECT_EQ(linear[0].kept(26), 5);
  EXPECT_TRUE(
      weight_matrices(dense.gpt2, dense.registry, Matrices::factors).empty());
  ShardedModel ring(config_of("tr_2_3_5"),
                    Plan::bottleneck,
                    *self,
                    at::kDouble);
  const auto factors =
      weight_matrices(ring.gpt2, ring.registry, Matrices::factors);
  ASSERT_EQ(factors.size(), 14u) << "a gate and six factors a block";
  EXPECT_EQ(factors[0].name, "h.0.mlp.gate.0");
  EXPECT_EQ(factors[1].name, "h.0.mlp.layer1.expert.0");
  EXPECT_EQ(factors[1].columns, 6);
  EXPECT_EQ(weight_matrices(ring.gpt2, ring.registry, Matrices::all).size(),
            14u + 4u);
}

TEST(SingularValues, KeepTheNearestMatrixOfThatRank) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel model(config_of("dense"), Plan::bottleneck, *self, at::kDouble);
  const auto& registry = model.registry;
  const SingularValues values(
      registry,
      weight_matrices(model.gpt2, registry, Matrices::linear));
  const dist::Parameter& p = registry.at("h.0.mlp.fc");
  const Tensor before = p.value.detach().clone();
  values.keep(2, 30);  // 5 of 16
  const Tensor after = p.value.detach().clone();
  const Tensor s = std::get<1>(at::linalg_svd(before));
  const Tensor s_after = std::get<1>(at::linalg_svd(after));
  EXPECT_LT(
      (s_after.narrow(0, 0, 5) - s.narrow(0, 0, 5)).abs().max().item<double>(),
      1e-12);
  EXPECT_LT(s_after[5].item<double>(), 1e-12);
  // Eckart and Young: as near as a matrix of rank 5 comes.
  EXPECT_NEAR((after - before).norm().item<double>(),
              s.narrow(0, 5, 11).norm().item<double>(),
              1e-12);
  EXPECT_NEAR(
      values.energy(2, 30),
      (s.narrow(0, 0, 5).square().sum() / s.square().sum()).item<double>(),
      1e-12);
  values.keep(2, 100);
  EXPECT_TRUE(at::equal(p.value.detach(), before));
}

TEST(SingularValues, GiveTheSameQualityOverAnyNumberOfRanks) {
  testing::ScratchFolder folder;
  std::vector<std::uint16_t> text;
  for (std::uint16_t i = 0; i < 9 * 8 + 1; ++i) text.push_back(i * i % 19);
  data::write_token_file(folder.path() / "tokens.bin", text);
  const data::TokenFile tokens(folder.path() / "tokens.bin");
  const data::TokenWindows windows(tokens, 8);
  std::vector<std::uint64_t> indices(9);
  std::iota(indices.begin(), indices.end(), 0);
  std::map<std::pair<int, int>, std::vector<double>> found;
  std::mutex mutex;
  for (const auto& [dp, tp] : {std::pair(1, 1), {2, 1}, {1, 2}}) {
    dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
      dist::ProcessMesh mesh(world, dp, tp);
      ShardedModel model(config_of("cp_23"),
                         Plan::bottleneck,
                         mesh.tp(),
                         at::kFloat);
      const SingularValues values(
          model.registry,
          weight_matrices(model.gpt2, model.registry, Matrices::all));
      std::vector<double> losses;
      for (const double percent : {10.0, 100.0}) {
        for (std::size_t i = 0; i < values.matrices().size(); ++i) {
          values.keep(i, percent);
        }
        const Quality quality = quality_of(model.gpt2,
                                           {mesh, at::kCPU},
                                           windows,
                                           train::in_batches(indices, 2));
        losses.push_back(quality.loss);
        EXPECT_EQ(quality.accuracy, -1);
      }
      const std::lock_guard lock(mutex);
      found[{dp, tp}] = losses;
    });
  }
  const auto one = found[std::pair(1, 1)], cut = found[std::pair(1, 2)];
  EXPECT_EQ((found[std::pair(2, 1)]), one);
  EXPECT_NE(one[0], one[1]);
  EXPECT_NEAR(cut[0], one[0], 1e-5);
  EXPECT_NEAR(cut[1], one[1], 1e-5);
}

struct HeadRow {
  std::int64_t experts, cp_rank, cp_parameters, r3, ring_rank, ring_parameters,
      cp_macs, ring_macs;
};

TEST(RankSweep, IsTheTableOfTheAuthorsHead) {
  const HeadRow rows[] = {{16, 424, 769128, 107, 428, 769676, 756840, 759100},
                          {32, 414, 770190, 106, 424, 775144, 745614, 752264},
                          {64, 393, 769521, 102, 408, 771928, 720369, 724408},
                          {128, 354, 769842, 95, 380, 772572, 671538, 675788},
                          {256, 283, 769683, 81, 324, 773860, 573075, 578548},
                          {512, 165, 769581, 52, 208, 769360, 376365, 376976},
                          {768, 71, 769951, 24, 96, 771936, 180127, 182496},
                          {960, 12, 770028, 3, 12, 773868, 32748, 36636}};
  std::vector<std::int64_t> experts;
  for (const HeadRow& row : rows) experts.push_back(row.experts);
  const auto counts = sweep_experts(768, 1000, experts, 769000);
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const SweptCount& count = counts[i];
    EXPECT_EQ(count.cp.ranks, (std::vector{rows[i].cp_rank}));
    EXPECT_EQ(count.cp.matrix_rank, rows[i].cp_rank);
    EXPECT_EQ(count.cp.parameters, rows[i].cp_parameters);
    EXPECT_EQ(count.cp.macs, rows[i].cp_macs);
    EXPECT_EQ(count.ring.ranks, (std::vector<std::int64_t>{4, 4, rows[i].r3}));
    EXPECT_EQ(count.ring.matrix_rank, rows[i].ring_rank);
    EXPECT_EQ(count.ring.parameters, rows[i].ring_parameters);
    EXPECT_EQ(count.ring.macs, rows[i].ring_macs);
    EXPECT_EQ(count.whole_cp.matrix_rank, 768);
    EXPECT_EQ(count.whole_ring.matrix_rank, 768);
    EXPECT_EQ(count.dense_macs, rows[i].experts * 769000);
  }
  // One more expert: R more parameters, or r_1 r_2, and its gate.
  EXPECT_EQ(counts[1].whole_cp.parameters - counts[0].whole_cp.parameters,
            16 * (768 + 768));
  EXPECT_EQ(counts[1].whole_ring.parameters - counts[0].whole_ring.parameters,
            16 * (16 + 768));
  EXPECT_NE(testing::error_of([] { sweep_experts(768, 1000, {1001}, 769000); }),
            "");
}

TEST(LayerCosts, AreOfLayersThatComputeWhatTheySay) {
  const CostRequest request{.inputs = 60,
                            .outputs = 50,
                            .experts = 4,
                            .active = 4,
                            .tokens = 3,
                            .repeats = 3};
  const auto layers = costed_layers(request);
  ASSERT_EQ(layers.size(), 5u);
  EXPECT_EQ(layers[0]->parameters, 3050);
  EXPECT_EQ(layers[1]->parameters, 240 + 4 * 3050);
  EXPECT_EQ(layers[1]->macs, 240 + 4 * 3050);
  EXPECT_EQ(layers[2]->macs, 240 + 4 * 3050);
  EXPECT_EQ(layers[4]->name, "cp");
  EXPECT_EQ(layers[4]->macs, layers[4]->parameters);
  const at::NoGradGuard no_grad;
  const Tensor x = at::randn({3, 60});
  for (const auto& layer : layers) {
    EXPECT_EQ(layer->forward(x).sizes(), (std::vector<std::int64_t>{3, 50}))
        << layer->name;
  }
  // All of the experts are the likeliest: the same mixture.
  EXPECT_LT((layers[1]->forward(x) - layers[2]->forward(x))
                .abs()
                .max()
                .item<double>(),
            1e-5);
  EXPECT_GT(layers[1]->forward(x).abs().max().item<double>(), 0.1);
  const auto costs = measure_layers(layers, request);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EXPECT_EQ(costs[i].weight_bytes, 4 * layers[i]->parameters);
    EXPECT_GE(costs[i].peak_bytes, 3 * 50 * 4) << "its output at least";
    EXPECT_LE(costs[i].low_ms, costs[i].latency_ms);
    EXPECT_LE(costs[i].latency_ms, costs[i].high_ms);
    EXPECT_GT(costs[i].low_ms, 0);
  }
  EXPECT_EQ(
      testing::error_of([] {
        costed_layers({.inputs = 6, .outputs = 5, .experts = 2, .active = 3});
      }),
      "--active 3: expected at most --experts 2");
}

}  // namespace
}  // namespace mumoe::study
