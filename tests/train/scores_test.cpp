#include "train/scores.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <numeric>

#include "data/order.h"
#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "tests/support/scratch.h"
#include "tests/support/sharded_model.h"
#include "tests/support/thread_communicator.h"
#include "train/evaluate.h"

namespace mumoe::train {
namespace {

using testing::random_tokens;
using testing::ScratchFolder;
using testing::ShardedModel;

constexpr std::int64_t kContext = 12;

model::ModelConfig config(const std::string& mlp = "cp") {
  auto config = testing::small_config(/*depth=*/2, kContext);
  config.set_mlp(mlp);
  if (mlp == "cp") config.mlp.ranks = {7};
  if (mlp == "tr") config.mlp.ranks = {2, 3, 5};
  return config;
}

/// A text about nothing.
data::TokenFile make_tokens(const std::filesystem::path& path) {
  const CounterRandom random(8, Purpose::test);
  std::vector<std::uint16_t> tokens;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    tokens.push_back(static_cast<std::uint16_t>(random.below(i, 19)));
  }
  data::write_token_file(path, tokens);
  return data::TokenFile(path);
}

/// −log p of every target of `batch`, asked for one by one: the softmax of
/// what follows each beginning.
at::Tensor losses_by_hand(const model::LanguageModel& model,
                          const model::Batch& batch) {
  at::Tensor losses = at::empty(batch.target.sizes(), at::kDouble);
  for (std::int64_t t = 0; t < batch.target.size(1); ++t) {
    const at::Tensor p =
        model.next_logits(batch.input.narrow(1, 0, t + 1)).softmax(1);
    losses.select(1, t).copy_(
        -p.gather(1, batch.target.narrow(1, t, 1)).squeeze(1).log());
  }
  return losses;
}

TEST(TokenLosses, AreThoseOfEachBeginning) {
  const auto self = dist::make_self_communicator(at::kCPU);
  for (const std::string mlp : {"dense", "cp", "tr"}) {
    ShardedModel whole(config(mlp), Plan::sequence, *self, at::kDouble);
    const at::Tensor tokens = random_tokens(3, kContext + 1, config().vocab);
    const auto batch = testing::next_token_batch(tokens);
    const at::Tensor losses = whole.gpt2.token_losses(batch);
    EXPECT_EQ(losses.scalar_type(), at::kDouble);
    EXPECT_FALSE(losses.requires_grad());
    EXPECT_TRUE(
        at::allclose(losses, losses_by_hand(whole.gpt2, batch), 1e-10, 1e-12))
        << mlp;
    EXPECT_NEAR(losses.sum().item<double>() / whole.gpt2.score(batch).loss,
                1,
                1e-12);
    // What fills a row up changes nothing before it.
    const model::Batch front{batch.input.narrow(1, 0, 7),
                             batch.target.narrow(1, 0, 7)};
    EXPECT_TRUE(at::allclose(whole.gpt2.token_losses(front),
                             losses.narrow(1, 0, 7),
                             1e-12,
                             1e-14));
  }
}

TEST(TokenLosses, AreTheSameCutOverTp) {
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel whole(config(), Plan::sequence, *self, at::kDouble);
  const auto batch =
      testing::next_token_batch(random_tokens(3, kContext + 1, config().vocab));
  const at::Tensor expected = whole.gpt2.token_losses(batch);
  for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
    for (const int ranks : {2, 4}) {
      dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
        ShardedModel cut(config(), plan, world, at::kDouble);
        EXPECT_TRUE(
            at::allclose(cut.gpt2.token_losses(batch), expected, 1e-10, 1e-12))
            << to_string(plan) << " over " << ranks;
      });
    }
  }
}

/// A text and questions about nothing, for a model that has learnt nothing.
struct Material {
  Material()
      : tokens(make_tokens(folder.path() / "val.bin")),
        windows(tokens, kContext),
        rows(folder.write("q.jsonl", questions()), letters, kContext, 4) {
    for (std::int64_t id = 0; id < 19; ++id) {
      bytes.push_back(id % 5);
    }
  }

  /// Of the targets of 37 windows, spread evenly.
  std::int64_t bytes_by_hand() const {
    std::int64_t sum = 0;
    for (const auto window : data::evaluation_samples(windows.size(), 37)) {
      for (std::int64_t t = 1; t <= kContext; ++t) {
        sum += tokens[window * kContext + t] % 5;
      }
    }
    return sum;
  }

  /// Ids below the vocabulary of the model.
  class Letters final : public data::Tokenizer {
   public:
    std::vector<std::int32_t> encode(std::string_view text) const override {
      std::vector<std::int32_t> ids;
      for (const char c : text) ids.push_back(1 + c % 17);
      return ids;
    }
    std::string decode(std::span<const std::int32_t>) const override {
      return {};
    }
    std::int64_t vocabulary() const override { return 18; }
    std::int32_t end_of_document() const override { return 0; }
    std::string_view name() const override { return "letters"; }
  };

  static std::string questions() {
    const CounterRandom random(4, Purpose::test);
    std::string lines;
    for (std::uint64_t q = 0; q < 30; ++q) {
      const auto word = [&](std::uint64_t which, std::uint64_t longest) {
        std::string letters;
        const auto length = 1 + random.below(100 * q + which, longest);
        for (std::uint64_t i = 0; i < length; ++i) {
          const auto drawn = random.below(100 * q + 10 * which + i + 5000, 26);
          letters += static_cast<char>('a' + drawn);
        }
        return letters;
      };
      lines +=
          fmt::format(R"({{"ctx":"{}","endings":["{}","{}","{}"],"label":{}}})"
                      "\n",
                      q == 3 ? "" : word(0, 9),
                      word(1, 3),
                      word(2, 6),
                      word(3, 7),
                      random.below(q, 3));
    }
    return lines;
  }

  ScratchFolder folder;
  Letters letters;
  data::TokenFile tokens;
  data::TokenWindows windows;
  data::ChoiceRows rows;
  std::vector<std::int64_t> bytes;  ///< Of each id; made up.
};

/// All that is scored, over dp x tp ranks.
struct Found {
  WindowScore text;
  ChoiceScore choices;
  double evaluated = 0;  ///< As a run evaluates.
};

Found score(const Material& material, int dp, int tp, at::ScalarType dtype) {
  Found found;
  std::mutex mutex;
  dist::ThreadWorld::run(dp * tp, [&](dist::Communicator& world) {
    dist::ProcessMesh mesh(world, dp, tp);
    ShardedModel model(config(), Plan::sequence, mesh.tp(), dtype);
    const Scorer scorer{mesh, at::kCPU};
    Found here;
    const auto windows = data::evaluation_samples(material.windows.size(), 37);
    here.text = score_windows(scorer,
                              model.gpt2,
                              material.windows,
                              windows,
                              4,
                              material.bytes);
    here.choices = score_choices(scorer, model.gpt2, material.rows, 30);
    here.evaluated = evaluate(model.gpt2,
                              material.windows,
                              37,
                              3,
                              mesh,
                              at::kCPU,
                              [] { return false; })
                         .value()
                         .loss;
    const std::lock_guard lock(mutex);
    if (found.text.tokens == 0) found = here;
    EXPECT_EQ(here.text.loss, found.text.loss) << "the same on all ranks";
    EXPECT_EQ(here.choices.loss, found.choices.loss);
  });
  return found;
}

TEST(Scores, HaveTheSameBitsOverAnyNumberOfDpRanks) {
  const Material material;
  for (const auto dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const Found one = score(material, 1, 1, dtype);
    EXPECT_EQ(one.text.tokens, 37 * kContext);
    EXPECT_EQ(one.text.bytes, material.bytes_by_hand());
    for (const int dp : {2, 3, 4}) {
      const Found several = score(material, dp, 1, dtype);
      EXPECT_EQ(several.text.loss, one.text.loss) << dp << " ranks";
      EXPECT_EQ(several.text.bytes, one.text.bytes) << dp << " ranks";
      EXPECT_EQ(several.choices.loss, one.choices.loss) << dp << " ranks";
      EXPECT_EQ(several.choices.right_by_mean, one.choices.right_by_mean);
      EXPECT_EQ(several.choices.right_by_sum, one.choices.right_by_sum);
    }
  }
}

TEST(Scores, AreTheSameOverTp) {
  const Material material;
  const Found one = score(material, 1, 1, at::kDouble);
  for (const auto& [dp, tp] : {std::pair{1, 2}, {2, 2}, {1, 4}}) {
    const Found cut = score(material, dp, tp, at::kDouble);
    EXPECT_NEAR(cut.text.loss / one.text.loss, 1, 1e-12);
    EXPECT_EQ(cut.text.bytes, one.text.bytes);
    EXPECT_NEAR(cut.choices.loss / one.choices.loss, 1, 1e-12);
    EXPECT_EQ(cut.choices.right_by_mean, one.choices.right_by_mean);
    EXPECT_EQ(cut.choices.right_by_sum, one.choices.right_by_sum);
  }
}

TEST(Scores, AreWhatARunEvaluates) {
  const Material material;
  const Found found = score(material, 2, 1, at::kDouble);
  EXPECT_NEAR(found.text.loss / found.evaluated, 1, 1e-12);
}

// Each ending by itself, neither filled up nor batched, its tokens one by one.
TEST(Scores, OfChoicesAreThoseByHand) {
  const Material material;
  const auto self = dist::make_self_communicator(at::kCPU);
  ShardedModel model(config(), Plan::sequence, *self, at::kDouble);
  std::int64_t by_mean = 0, by_sum = 0, tokens = 0;
  double loss = 0;
  bool ways_differ = false;
  const auto& questions = material.rows.questions();
  for (const auto& question : questions) {
    auto before = material.letters.encode(question.context);
    if (before.empty()) before = {0};
    std::vector<double> sums, means;
    for (const auto& ending : question.endings) {
      auto ids = before;
      const auto behind = material.letters.encode(
          question.context.empty() ? ending : " " + ending);
      ids.insert(ids.end(), behind.begin(), behind.end());
      const auto count = static_cast<std::int64_t>(behind.size());
      if (ids.size() > kContext + 1) {
        ids.erase(ids.begin(), ids.end() - (kContext + 1));
      }
      const at::Tensor row =
          at::tensor(std::vector<std::int64_t>(ids.begin(), ids.end()))
              .unsqueeze(0);
      const at::Tensor losses =
          losses_by_hand(model.gpt2, testing::next_token_batch(row));
      sums.push_back(
          losses.narrow(1, losses.size(1) - count, count).sum().item<double>());
      means.push_back(sums.back() / static_cast<double>(count));
      tokens += count;
    }
    const auto chosen = [](const std::vector<double>& values) {
      return static_cast<std::size_t>(std::ranges::min_element(values) -
                                      values.begin());
    };
    by_mean += chosen(means) == question.label;
    by_sum += chosen(sums) == question.label;
    ways_differ |= chosen(means) != chosen(sums);
    loss += means[question.label] / static_cast<double>(questions.size());
  }
  const Found found = score(material, 1, 1, at::kDouble);
  EXPECT_GT(material.rows.cut(), 0) << "some are longer than the context";
  EXPECT_TRUE(ways_differ) << "of some question";
  EXPECT_EQ(found.choices.questions, 30);
  EXPECT_EQ(found.choices.tokens, tokens);
  EXPECT_EQ(found.choices.right_by_mean, by_mean);
  EXPECT_EQ(found.choices.right_by_sum, by_sum);
  EXPECT_NEAR(found.choices.loss / loss, 1, 1e-10);
}

}  // namespace
}  // namespace mumoe::train
