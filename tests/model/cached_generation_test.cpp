// Text by keys and values that are kept is the text without them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "dist/self_communicator.h"
#include "model/generate.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::testing {
namespace {

using Ids = std::vector<std::int64_t>;

const std::vector<Ids> kPrompts = {{1, 2, 3},
                                   {4},
                                   {5, 6, 7, 8, 9, 10, 11},
                                   // longer than the context
                                   {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7}};

/// What is generated from `prompts` at once.
std::vector<Ids> texts_of(const model::LanguageModel& model,
                          const std::vector<Ids>& prompts,
                          model::GenerateConfig settings,
                          std::int64_t vocabulary) {
  settings.vocabulary = vocabulary;
  std::vector<Ids> texts(prompts.size());
  model::generate(model,
                  prompts,
                  settings,
                  [&](std::size_t prompt, std::int32_t id) {
                    texts[prompt].push_back(id);
                    return true;
                  });
  return texts;
}

class CachedGeneration : public ::testing::TestWithParam<ShardedCase> {
 protected:
  model::ModelConfig config() const {
    model::ModelConfig config = GetParam().config;
    config.context = 12;
    config.vocab = 21;
    return config;
  }
};

TEST_P(CachedGeneration, IsTheTextWithoutTheCache) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ShardedModel m(config(), Plan::sequence, *self, at::kFloat);
  for (const double temperature : {0.0, 1.0}) {
    // Three windows long.
    const model::GenerateConfig kept{.tokens = 40,
                                     .temperature = temperature,
                                     .top_k = 0,
                                     .seed = 7};
    model::GenerateConfig anew = kept;
    anew.cached = false;
    const auto together = texts_of(m.gpt2, kPrompts, kept, 21);
    EXPECT_EQ(together, texts_of(m.gpt2, kPrompts, anew, 21));
    for (std::size_t p = 0; p < kPrompts.size(); ++p) {
      EXPECT_EQ(texts_of(m.gpt2, {kPrompts[p]}, kept, 21)[0], together[p])
          << "prompt " << p << " alone";
    }
  }
}

TEST_P(CachedGeneration, LogitsOfPaddedPromptsAreThoseOfEachAlone) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ShardedModel m(config(), Plan::sequence, *self, at::kDouble);
  const std::vector<std::int64_t> counts = {3, 8, 1};
  const at::Tensor tokens = random_tokens(3, 8, 21);
  auto cache = m.gpt2.cache(3);
  const at::Tensor first = m.gpt2.next_logits(tokens, counts, cache);
  const at::Tensor more = random_tokens(3, 2, 21);
  const std::vector<std::int64_t> both = {2, 1, 2};
  const at::Tensor second = m.gpt2.next_logits(more, both, cache);
  for (std::int64_t b = 0; b < 3; ++b) {
    const auto one = static_cast<std::size_t>(b);
    const at::Tensor own = tokens.narrow(0, b, 1).narrow(1, 0, counts[one]);
    EXPECT_LT(relative_error(first[b], m.gpt2.next_logits(own)[0]), 1e-12);
    const at::Tensor longer =
        at::cat({own, more.narrow(0, b, 1).narrow(1, 0, both[one])}, 1);
    EXPECT_LT(relative_error(second[b], m.gpt2.next_logits(longer)[0]), 1e-12);
    EXPECT_EQ(cache.length(one), longer.size(1));
  }
}

TEST_P(CachedGeneration, IsTheSameTextOverTensorParallelRanks) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ShardedModel whole(config(), Plan::sequence, *self, at::kDouble);
  const model::GenerateConfig greedy{.tokens = 30, .temperature = 0};
  const auto expected = texts_of(whole.gpt2, kPrompts, greedy, 21);
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    dist::ThreadWorld::run(2, [&](dist::Communicator& tp) {
      const ShardedModel cut(config(), plan, tp, at::kDouble);
      EXPECT_EQ(texts_of(cut.gpt2, kPrompts, greedy, 21), expected);
    });
  }
}

std::vector<ShardedCase> some_cases() {
  std::vector<ShardedCase> cases;
  for (const ShardedCase& each : sharded_cases()) {
    for (const char* name : {"dense",
                             "cp_7_two_levels",
                             "tr_2_3_5",
                             "cp_9_sparse_recomputed_without_biases"}) {
      if (each.name == name) cases.push_back(each);
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Models,
                         CachedGeneration,
                         ::testing::ValuesIn(some_cases()),
                         [](const auto& info) { return info.param.name; });

/// A model that says nothing but which tokens it was shown, in order.
class Recorder final : public model::LanguageModel {
 public:
  at::Tensor next_logits(const at::Tensor& tokens) const override {
    passes.push_back(tokens.numel());
    return logits(tokens.size(0));
  }
  model::KeyValueCache cache(std::int64_t samples) const override {
    return {{1, samples, context(), 1, 1}, at::kFloat};
  }
  at::Tensor next_logits(const at::Tensor& tokens,
                         std::span<const std::int64_t> counts,
                         model::KeyValueCache& cache) const override {
    EXPECT_LE(cache.length(0) + tokens.size(1), context());
    passes.push_back(tokens.numel());
    cache.advance(counts);
    return logits(tokens.size(0));
  }
  at::Tensor token_losses(const model::Batch&) const override { return {}; }
  std::int64_t context() const override { return 8; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor loss(const model::Batch&, double) const override { return {}; }
  model::Score score(const model::Batch&) const override { return {}; }
  std::span<const MuMoEBlock* const> mixtures() const override { return {}; }
  std::span<MuMoEBlock* const> blocks() override { return {}; }
  model::PassCost cost(std::int64_t, at::Device) const override { return {}; }
  std::vector<Product> products(std::int64_t) const override { return {}; }
  std::string describe() const override { return "a recorder"; }

  mutable std::vector<std::int64_t> passes;  ///< Tokens of each.

 private:
  static at::Tensor logits(std::int64_t samples) {
    return at::arange(6, at::kFloat).repeat({samples, 1});
  }
};

TEST(CachedGenerationCost, ATokenCostsOnePassAndAWindowMovesByHalf) {
  const Recorder recorder;
  texts_of(recorder, {{1, 2, 3}}, {.tokens = 16, .temperature = 0}, 6);
  // 3 of the prompt, 5 more fill the window; of the 4 it begins with anew, 3
  // are read again before the last.
  const Ids expected = {3, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1};
  EXPECT_EQ(recorder.passes, expected);
}

TEST(CachedGenerationCost, TextsThatHaveEndedCostNothing) {
  const Recorder recorder;
  std::map<std::size_t, int> told;
  model::generate(recorder,
                  {{1}, {2, 3}, {4}},
                  {.tokens = 5, .temperature = 0, .vocabulary = 6},
                  [&](std::size_t prompt, std::int32_t) {
                    return ++told[prompt] < 1 + 2 * static_cast<int>(prompt);
                  });
  EXPECT_EQ((std::vector{told[0], told[1], told[2]}), (std::vector{1, 3, 5}));
  EXPECT_EQ(recorder.passes, (Ids{6, 2, 2, 1, 1}));
}

}  // namespace
}  // namespace mumoe::testing
