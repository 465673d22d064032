#include "model/generate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"

namespace mumoe::model {
namespace {

class Generate : public ::testing::Test {
 protected:
  Generate()
      : self_(dist::make_self_communicator(at::kCPU)),
        registry_(*self_, at::kFloat, at::kCPU),
        gpt2_(config(), registry_),
        buckets_(registry_, 1 << 20) {
    buckets_.initialise(4);
  }

  static ModelConfig config() {
    ModelConfig c;
    c.depth = 1;
    c.heads = 2;
    c.width = 8;
    c.context = 5;
    c.vocab = 40;
    c.mlp.hidden_dim = 16;
    c.mlp.experts = {4};
    c.mlp.ranks = {3};
    return c;
  }

  std::vector<std::int32_t> run(GenerateConfig settings) {
    settings.vocabulary = 30;
    std::vector<std::int32_t> ids;
    generate(gpt2_, {1, 2}, settings, [&](std::int32_t id) {
      ids.push_back(id);
      return true;
    });
    return ids;
  }

  std::unique_ptr<dist::Communicator> self_;
  dist::ParameterRegistry registry_;
  Gpt2 gpt2_;
  dist::FlatBuckets buckets_;
};

TEST_F(Generate, IsAFunctionOfTheSeedAndGoesPastTheContext) {
  const auto first = run({.tokens = 200, .temperature = 1, .top_k = 0});
  EXPECT_EQ(first.size(), 200u);
  EXPECT_EQ(run({.tokens = 200, .temperature = 1, .top_k = 0}), first);
  EXPECT_NE(run({.tokens = 200, .temperature = 1, .top_k = 0, .seed = 1}),
            first);
  for (const auto id : first) {
    EXPECT_GE(id, 0);
    EXPECT_LT(id, 30) << "rows that pad the embedding are never drawn";
  }
}

TEST_F(Generate, TemperatureZeroAndTopOneAreTheMostLikely) {
  const auto greedy = run({.tokens = 20, .temperature = 0});
  EXPECT_EQ(run({.tokens = 20, .temperature = 2, .top_k = 1, .seed = 9}),
            greedy);
  const at::Tensor tokens = at::tensor({1, 2}, at::kLong).view({1, 2});
  at::NoGradGuard no_grad;
  EXPECT_EQ(greedy[0],
            gpt2_.next_logits(tokens)[0]
                .narrow(0, 0, 30)
                .argmax()
                .item<std::int64_t>());
}

TEST_F(Generate, TopKLimitsTheChoice) {
  // One step from the same prompt, many seeds: at most three outcomes.
  std::set<std::int32_t> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    seen.insert(
        run({.tokens = 1, .temperature = 1, .top_k = 3, .seed = seed})[0]);
  }
  EXPECT_LE(seen.size(), 3u);
  EXPECT_GE(seen.size(), 2u);
}

TEST_F(Generate, TopPDrawsFromTheFewestThatHaveIt) {
  const at::Tensor tokens = at::tensor({1, 2}, at::kLong).view({1, 2});
  const at::Tensor p =
      at::softmax(gpt2_.next_logits(tokens)[0].narrow(0, 0, 30).to(at::kDouble),
                  0);
  const auto [likely, ids] = p.sort(0, /*descending=*/true);
  // Between the sums of three and of four: four are needed.
  const double top_p = likely.narrow(0, 0, 3).sum().item<double>() + 1e-3;
  std::set<std::int32_t> allowed, seen;
  for (int i = 0; i < 4; ++i) allowed.insert(ids[i].item<std::int64_t>());
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    const auto id = run({.tokens = 1,
                         .temperature = 1,
                         .top_k = 0,
                         .top_p = top_p,
                         .seed = seed})[0];
    EXPECT_TRUE(allowed.contains(id)) << id;
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_EQ(run({.tokens = 9, .temperature = 1, .top_k = 0, .top_p = 1e-9}),
            run({.tokens = 9, .temperature = 0}));
}

TEST_F(Generate, BadSettingsAreRefused) {
  EXPECT_THROW(run({.tokens = -1}), InputError);
  EXPECT_THROW(run({.temperature = -0.5}), InputError);
  EXPECT_THROW(run({.top_k = -2}), InputError);
  EXPECT_THROW(run({.top_p = 0}), InputError);
  EXPECT_THROW(run({.top_p = 1.5}), InputError);
}

}  // namespace
}  // namespace mumoe::model
