// Classifier heads: sizes as published, gradients, the same at every layout,
// and what they cost.
#include "model/head.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "dist/null_communicator.h"
#include "dist/self_communicator.h"
#include "model/families.h"
#include "mumoe/live_bytes.h"
#include "tests/support/errors.h"
#include "tests/support/small_head.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::model {
namespace {

using at::Tensor;
using testing::head_cases;
using testing::HeadOnMesh;
using testing::made_up_features;
using testing::small_head;

std::int64_t parameters_of(const ModelConfig& config) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kFloat, at::kMeta);
  const HeadModel model(config, registry);
  std::int64_t trained = 0;
  for (const auto& parameter : registry.parameters()) {
    if (parameter.trained) trained += parameter.global_numel();
  }
  EXPECT_EQ(trained, head_parameters(head_shape(config, config.features)));
  return trained;
}

/// ImageNet's classes on what CLIP's ViT-B/32 makes of an image.
ModelConfig clip_head(const std::string& head, std::int64_t experts) {
  ModelConfig c;
  c.features = 768;
  c.classes = 1000;
  c.set_head(head);
  c.mlp.experts = {experts};
  c.mlp.gate.norm = GateNorm::batch;
  c.mlp.ranks = {};
  return c;
}

/// With ranks by `request`, and what of `head_mlp` they follow from.
ModelConfig ranked(ModelConfig c, RankRule rule) {
  const MlpKind kind = head_mlp(c, c.features, "");
  c.mlp.ranks = match_ranks(
      kind.block.shape(),
      {.rule = rule,
       .budget = kind.parameters > 0 ? kind.parameters : dense_parameters(kind),
       .family = PaperFamily::clip_head});
  return c;
}

TEST(Head, HasTheAuthorsRanksAndParametersForEveryNumberOfExperts) {
  struct Row {
    std::int64_t experts, cp_rank, cp_parameters, tr_rank, tr_parameters;
  };
  for (const auto& [experts, cp_rank, cp_parameters, tr_rank, tr_parameters] :
       {Row{16, 424, 769'128, 107, 769'676},
        Row{32, 414, 770'190, 106, 775'144},
        Row{64, 393, 769'521, 102, 771'928},
        Row{128, 354, 769'842, 95, 772'572},
        Row{256, 283, 769'683, 81, 773'860},
        Row{512, 165, 769'581, 52, 769'360},
        Row{768, 71, 769'951, 24, 771'936},
        Row{960, 12, 770'028, 3, 773'868}}) {
    SCOPED_TRACE(experts);
    const auto cp = ranked(clip_head("cp", experts), RankRule::paper);
    EXPECT_EQ(cp.mlp.ranks, (std::vector<std::int64_t>{cp_rank}));
    EXPECT_EQ(parameters_of(cp), cp_parameters);
    const auto tr = ranked(clip_head("tr", experts), RankRule::paper);
    EXPECT_EQ(tr.mlp.ranks, (std::vector<std::int64_t>{4, 4, tr_rank}));
    EXPECT_EQ(parameters_of(tr), tr_parameters);
  }
  EXPECT_EQ(parameters_of(clip_head("linear", 64)), 769'000);
}

TEST(Head, HasAsManyParametersAsItMayWhateverItsKind) {
  for (const std::int64_t budget : {0, 300'000, 1'000'000}) {
    const std::int64_t most = budget == 0 ? 769'000 : budget;
    for (const char* form : {"high_rank", "cp", "tr", "tt", "tucker"}) {
      for (const std::int64_t experts : {8, 64, 256}) {
        SCOPED_TRACE(fmt::format("{} {} {}", form, experts, budget));
        ModelConfig c = clip_head(form, experts);
        c.head_parameters = budget;
        if (c.head == HeadKind::mixture) c = ranked(c, RankRule::automatic);
        const std::int64_t found = parameters_of(c);
        EXPECT_LE(found, most);
        EXPECT_GT(found, most - 33 * (1000 + 768 + experts + 1));
      }
    }
  }
  ModelConfig c = clip_head("high_rank", 1);
  c.head_parameters = 1000 + 1769 - 1;
  testing::expect_input_error([&] { validate_head(c, 768); },
                              {"head_parameters = 2768", "2769"});
  c.head_parameters = 2769;
  EXPECT_EQ(parameters_of(c), 2769);
}

/// What a head says of `x`, by its weights, written out: gates by softmax of a
/// layer norm.
Tensor plain_logits(const ModelConfig& c,
                    const std::map<std::string, Tensor>& w,
                    const Tensor& x) {
  const auto part = [&](const char* name) {
    return w.at(std::string("head.") + name);
  };
  if (c.head == HeadKind::linear) {
    return at::matmul(x, part("weight").t()) + part("bias");
  }
  if (c.head == HeadKind::high_rank) {
    const Tensor h =
        at::matmul(x, part("inner.weight").t()) + part("inner.bias");
    return at::matmul(h, part("outer.weight").t()) + part("outer.bias");
  }
  const Tensor a_BN = at::softmax(
      at::layer_norm(at::matmul(x, part("gate.0")), {c.mlp.experts[0]}),
      -1);
  const Tensor mixed_BR = at::matmul(a_BN, part("layer1.expert.0"));
  const Tensor q_BR =
      at::matmul(x, part("layer1.input")) + part("layer1.input_bias");
  return at::matmul(mixed_BR * q_BR, part("layer1.output").t());
}

TEST(Head, HasTheLogitsAndGradientsOfItsFormula) {
  for (const auto& [name, config] : head_cases()) {
    const bool plain = config.head != HeadKind::mixture;
    if (!plain && name != "cp by layer norms and softmax") continue;
    SCOPED_TRACE(name);
    const auto self = dist::make_self_communicator(at::kCPU);
    HeadOnMesh on(config, *self);
    const Batch batch = made_up_features(config, 9);
    on.loss(batch);
    std::map<std::string, Tensor> weights;
    for (const auto& [key, tensor] :
         on.tensors(&dist::Bucket::master).tensors) {
      weights[key] = tensor.clone().requires_grad_(true);
    }
    const Tensor logits = plain_logits(config, weights, batch.input);
    EXPECT_LT(
        testing::relative_error(on.model.logits(batch.input), logits.detach()),
        1e-12);
    at::cross_entropy_loss(logits, batch.target.flatten()).backward();
    const auto gradients = on.tensors(&dist::Bucket::grad);
    for (const auto& [key, weight] : weights) {
      ASSERT_TRUE(weight.grad().defined()) << key;
      EXPECT_LT(testing::relative_error(gradients.at(key), weight.grad()),
                1e-10)
          << key;
    }
  }
}

/// What one step leaves: of all ranks, whole.
struct Step {
  double loss = 0;
  NamedTensors gradients;
  NamedTensors weights;  ///< And running statistics.
};

Step step(HeadOnMesh& on, const Batch& batch) {
  const double loss = on.loss(batch);
  return {loss,
          on.tensors(&dist::Bucket::grad),
          on.tensors(&dist::Bucket::master)};
}

void expect_same(const Step& found, const Step& expected) {
  EXPECT_NEAR(found.loss / expected.loss, 1, 1e-10);
  for (const auto& [mine, theirs] :
       {std::pair(&found.gradients, &expected.gradients),
        std::pair(&found.weights, &expected.weights)}) {
    for (const auto& [name, tensor] : theirs->tensors) {
      EXPECT_LT(testing::relative_error(mine->at(name), tensor), 1e-10) << name;
    }
  }
}

TEST(Head, IsTheSameAtEveryLayout) {
  struct Layout {
    int ranks, tp;
    Plan plan;
  };
  for (const auto& [name, config] : head_cases()) {
    const Batch batch = made_up_features(config, 8);
    const auto self = dist::make_self_communicator(at::kCPU);
    HeadOnMesh one(config, *self);
    const Step expected = step(one, batch);
    const Score score = one.model.score(made_up_features(config, 5));
    for (const auto& [ranks, tp, plan] : {Layout{3, 1, Plan::sequence},
                                          Layout{2, 2, Plan::sequence},
                                          Layout{2, 2, Plan::bottleneck},
                                          Layout{2, 2, Plan::rank},
                                          Layout{4, 2, Plan::sequence}}) {
      if (config.head != HeadKind::mixture && plan == Plan::rank) continue;
      SCOPED_TRACE(fmt::format("{}, {}, {} x {}",
                               name,
                               to_string(plan),
                               ranks / tp,
                               tp));
      dist::ThreadWorld::run(ranks, [&](dist::Communicator& world) {
        HeadOnMesh on(config, world, tp, plan);
        expect_same(step(on, batch), expected);
        const Score found = on.model.score(made_up_features(config, 5));
        EXPECT_NEAR(found.loss / score.loss, 1, 1e-10);
        EXPECT_EQ(found.top1, score.top1);
      });
    }
  }
}

TEST(Head, ScoresEachSampleByItself) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const ModelConfig config = small_head("cp");
  HeadOnMesh on(config, *self);
  const Batch batch = made_up_features(config, 6);
  step(on, batch);  // statistics of their own
  const auto before = on.tensors(&dist::Bucket::master);
  const Tensor logits = on.model.logits(batch.input);
  EXPECT_FALSE(logits.requires_grad());
  EXPECT_LT(
      testing::relative_error(on.model.logits(batch.input.narrow(0, 2, 1)),
                              logits.narrow(0, 2, 1)),
      1e-12);
  const Tensor right = logits.log_softmax(1).gather(1, batch.target);
  EXPECT_NEAR(on.model.score(batch).loss, -right.sum().item<double>(), 1e-10);
  for (const auto& [name, tensor] : before.tensors) {
    EXPECT_TRUE(tensor.equal(on.tensors(&dist::Bucket::master).at(name)))
        << name;
  }
  step(on, batch);  // and training goes on with those of the batch
  EXPECT_FALSE(before.at("head.gate_norm.0.running_mean")
                   .equal(on.tensors(&dist::Bucket::master)
                              .at("head.gate_norm.0.running_mean")));
}

std::int64_t calls(const dist::Communicator& group) {
  std::int64_t sum = 0;
  for (std::size_t op = 0; op < dist::kOps; ++op) {
    sum += group.traffic(static_cast<dist::Op>(op)).calls;
  }
  return sum;
}

TEST(Head, CostsWhatItMovesAndKeeps) {
  constexpr std::int64_t kSamples = 64;
  for (const auto& [plan, ranks] : {std::pair{Plan::sequence, 1},
                                    std::pair{Plan::sequence, 2},
                                    std::pair{Plan::bottleneck, 2},
                                    std::pair{Plan::rank, 2}}) {
    for (const auto& [name, config] : head_cases()) {
      if (config.head != HeadKind::mixture && plan == Plan::rank) continue;
      SCOPED_TRACE(
          fmt::format("{}, {} ranks, {}", name, ranks, to_string(plan)));
      const auto world = dist::make_null_communicator({1, ranks, ranks - 1});
      HeadOnMesh on(config, *world, ranks, plan);
      const PassCost cost = on.model.cost(kSamples, at::kCPU);
      const Batch batch = made_up_features(config, kSamples);
      const auto& tp = on.mesh.tp();
      const auto bytes = tp.total_bytes(), operations = calls(tp);
      on.model.loss(batch, 1).backward();
      EXPECT_EQ(static_cast<double>(tp.total_bytes() - bytes), cost.tp_bytes);
      EXPECT_EQ(calls(tp) - operations, cost.tp_operations);
      const LiveBytes live;
      const Tensor loss = on.model.loss(batch, 1);
      // The input is the batch's.
      const double input = on.sharding.region().tokens_cut() ? 0.5 : 1;
      const double held = static_cast<double>(live.read()) +
                          input * static_cast<double>(batch.input.nbytes());
      EXPECT_NEAR(held / cost.kept_bytes, 1, 0.1);
    }
  }
}

TEST(Head, CostsTwoThirdsOfThreeProductsForFeatures) {
  const ModelConfig config = small_head("linear");
  const auto self = dist::make_self_communicator(at::kCPU);
  HeadOnMesh linear(config, *self);
  EXPECT_EQ(linear.model.cost(3, at::kCPU).flops, 3 * 4 * 70);
  HeadOnMesh cp(small_head("cp"), *self);
  const auto& block = *cp.model.mixtures()[0];
  const auto macs =
      static_cast<double>(MuMoEBlock::macs_per_token(block.config()));
  // Into features: those of the gate and of the input factor.
  EXPECT_EQ(cp.model.cost(3, at::kCPU).flops,
            3 * (6 * macs - 2 * (10 * 6 + 10 * 5)));
}

TEST(Head, RefusesWhatItCannotBe) {
  const auto refused = [](auto change,
                          std::initializer_list<std::string> parts) {
    ModelConfig c = small_head("cp");
    change(c);
    testing::expect_input_error([&] { family("head").validate(c); }, parts);
  };
  refused([](auto& c) { c.classes = 0; }, {"classes = 0"});
  refused([](auto& c) { c.features = 0; }, {"features = 0"});
  refused([](auto& c) { c.head_parameters = -1; }, {"head_parameters = -1"});
  refused([](auto& c) { c.mlp.ranks = {4, 4}; }, {"mlp.ranks = 4,4"});
  refused([](auto& c) { c.label_smoothing = 1; }, {"label_smoothing = 1"});
  refused(
      [](auto& c) {
        c.mlp.gate.activation = GateActivation::top_k;
        c.mlp.gate.top_k = 7;
      },
      {"mlp.gate.top_k = 7", "1 to 6"});
  testing::expect_input_error([] { small_head("mlp"); },
                              {"linear, high_rank, cp, tr"});
}

}  // namespace
}  // namespace mumoe::model
