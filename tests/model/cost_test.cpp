// What a model says it costs, against what it moves and keeps.
#include "model/cost.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dist/null_communicator.h"
#include "dist/params/gradient_reducer.h"
#include "mumoe/live_bytes.h"
#include "tests/support/gpu.h"
#include "tests/support/sharded_model.h"

namespace mumoe {
namespace {

constexpr std::int64_t kSamples = 3;
const at::Device kDevice = testing::test_device();

/// One rank of a tp group whose others are not there.
struct Alone {
  Alone(const model::ModelConfig& config,
        Plan plan,
        int ranks,
        at::ScalarType t)
      : world(dist::make_null_communicator({1, ranks, ranks - 1})),
        gpu(dist::make_self_communicator(kDevice)),
        mesh(*world, 1, ranks, kDevice.is_cuda() ? gpu.get() : nullptr),
        registry(mesh.tp(), t, kDevice),
        gpt2(config, registry, {plan, &mesh.tp()}),
        buckets(registry,
                mesh,
                {.zero = 1, .whole_is_partial = plan == Plan::sequence}) {
    buckets.initialise(1);
  }
  std::unique_ptr<dist::Communicator> world;
  std::unique_ptr<dist::Communicator> gpu;  ///< Moves its tensors, of one rank.
  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  model::Gpt2 gpt2;
  dist::FlatBuckets buckets;
};

std::int64_t calls(const dist::Communicator& group) {
  std::int64_t sum = 0;
  for (std::size_t op = 0; op < dist::kOps; ++op) {
    sum += group.traffic(static_cast<dist::Op>(op)).calls;
  }
  return sum;
}

struct Layout {
  Plan plan;
  int ranks;
};
constexpr Layout kLayouts[] = {{Plan::sequence, 1},
                               {Plan::sequence, 2},
                               {Plan::sequence, 4},
                               {Plan::bottleneck, 2},
                               {Plan::bottleneck, 4},
                               {Plan::rank, 2},
                               {Plan::rank, 4}};

template <class Check>
void at_all_layouts(const Check& check) {
  for (const Layout& layout : kLayouts) {
    if (layout.ranks > 1 && kDevice.is_cuda()) break;
    for (const auto dtype : {at::kDouble, at::kBFloat16}) {
      for (const auto& [name, config] : testing::sharded_cases()) {
        SCOPED_TRACE(fmt::format("{}, {} ranks, {}, {}",
                                 to_string(layout.plan),
                                 layout.ranks,
                                 at::toString(dtype),
                                 name));
        check(config, layout, dtype);
      }
    }
  }
}

/// The same models, each of which computes its blocks again in backward and
/// drops elements.
template <class Check>
void at_some_layouts_again(const Check& check) {
  for (const Layout& layout : kLayouts) {
    if (layout.ranks > 1 && kDevice.is_cuda()) break;
    for (const char* name : {"dense", "tr_2_3_5", "cp_7_two_levels"}) {
      for (auto& [each, config] : testing::sharded_cases()) {
        if (each != name) continue;
        for (const auto recompute :
             {model::Recompute::none, model::Recompute::everything}) {
          SCOPED_TRACE(fmt::format("{}, {} ranks, {}, {}",
                                   to_string(layout.plan),
                                   layout.ranks,
                                   name,
                                   static_cast<int>(recompute)));
          auto changed = config;
          changed.recompute = recompute;
          changed.dropout = 0.1;
          for (const auto dtype : {at::kDouble, at::kBFloat16}) {
            check(changed, layout, dtype);
          }
        }
      }
    }
  }
}

void expect_exchanges(const model::ModelConfig& config,
                      const Layout& layout,
                      at::ScalarType dtype) {
  Alone rank(config, layout.plan, layout.ranks, dtype);
  const auto cost =
      model::cost_of(rank.gpt2, rank.buckets.layout(), kSamples, kDevice);
  EXPECT_EQ(cost.parameters, rank.registry.global_numel());
  dist::GradientReducer reducer(rank.buckets);
  const auto tp = rank.mesh.tp().total_bytes();
  const auto all = rank.mesh.dp_tp().total_bytes();
  const auto operations = calls(rank.mesh.tp());
  reducer.begin(true);
  const at::Tensor tokens =
      testing::random_tokens(kSamples, config.context + 1, config.vocab)
          .to(kDevice);
  rank.gpt2.loss(testing::next_token_batch(tokens), 1).backward();
  reducer.finish();
  rank.buckets.refresh_compute();
  EXPECT_EQ(static_cast<double>(rank.mesh.tp().total_bytes() - tp),
            cost.pass.tp_bytes);
  EXPECT_EQ(calls(rank.mesh.tp()) - operations, cost.pass.tp_operations);
  EXPECT_EQ(rank.mesh.dp_tp().total_bytes() - all, cost.step.all);
}

TEST(Cost, BytesAndCallsAreWhatARankMoves) {
  at_all_layouts(expect_exchanges);
}

TEST(Cost, BytesAndCallsAreWhatARankMovesThatComputesAgain) {
  at_some_layouts_again(expect_exchanges);
}

void expect_kept(model::ModelConfig config,
                 const Layout& layout,
                 at::ScalarType dtype) {
  // On a GPU attention in fp64, which is for tests, keeps all its weights.
  if (kDevice.is_cuda() && dtype == at::kDouble) return;
  config.context = 32;
  config.width = 32;
  Alone rank(config, layout.plan, layout.ranks, dtype);
  const at::Tensor tokens =
      testing::random_tokens(kSamples, config.context + 1, config.vocab)
          .to(kDevice);
  model::Batch batch = testing::next_token_batch(tokens);
  batch.input = batch.input.contiguous();  // samples are not counted
  if (config.dropout > 0) {
    batch.ids = at::arange(kSamples, tokens.options());
  }
  rank.gpt2.loss(batch, 1).backward();  // what is made once
  const double expected = rank.gpt2.cost(kSamples, kDevice).kept_bytes;
  const LiveBytes live;
  const at::Tensor loss = rank.gpt2.loss(batch, 1);
  EXPECT_NEAR(static_cast<double>(live.read()) / expected, 1, 0.01);
}

TEST(Cost, KeptIsWhatTensorsHoldBetweenForwardAndBackward) {
  at_all_layouts(expect_kept);
}

TEST(Cost, KeptIsWhatTensorsHoldThatDropOrAreComputedAgain) {
  at_some_layouts_again(expect_kept);
}

TEST(Cost, OfOneRankIsTheModels) {
  for (const auto& [name, config] : testing::sharded_cases()) {
    SCOPED_TRACE(name);
    Alone one(config, Plan::sequence, 1, at::kFloat);
    const auto whole = one.gpt2.cost(kSamples, kDevice);
    EXPECT_DOUBLE_EQ(whole.rank_flops, whole.flops);
    EXPECT_EQ(whole.tp_bytes, 0);
    EXPECT_EQ(whole.tp_operations, 0);
    // 6 for each weight of a product and bias of an expert, the tied head
    // once, and attention; rings and Tucker combine in addition.
    double macs = 0;
    for (const auto& p : one.registry.parameters()) {
      const bool used_once = p.global_shape.size() > 1 && p.name != "wpe" &&
                             !p.name.ends_with("qkv_bias");
      if (used_once || p.name.ends_with("input_bias")) {
        macs += static_cast<double>(p.global_numel());
      }
    }
    const double tokens = static_cast<double>(kSamples * config.context);
    const double attention =
        static_cast<double>(config.depth * config.width * config.context);
    const double least = 6 * tokens * (macs + attention);
    if (config.dense || config.mlp.form == Form::cp) {
      EXPECT_DOUBLE_EQ(whole.flops, least);
    } else {
      EXPECT_GT(whole.flops, least);
    }
    Alone four(config, Plan::sequence, 4, at::kFloat);
    EXPECT_DOUBLE_EQ(four.gpt2.cost(kSamples, kDevice).flops, whole.flops);
  }
}

// Everything but the head, whose products are three times forward's.
TEST(Cost, CountsBlocksThatAreComputedAgain) {
  for (auto& [name, config] : testing::sharded_cases()) {
    SCOPED_TRACE(name);
    auto again = config;
    again.recompute = model::Recompute::everything;
    for (const Layout& layout : {kLayouts[0], kLayouts[1], kLayouts[3]}) {
      if (layout.ranks > 1 && kDevice.is_cuda()) break;
      Alone once(config, layout.plan, layout.ranks, at::kFloat);
      Alone twice(again, layout.plan, layout.ranks, at::kFloat);
      const auto before = once.gpt2.cost(kSamples, kDevice);
      const auto cost = twice.gpt2.cost(kSamples, kDevice);
      // Mixtures alone, which are then formed a third time.
      EXPECT_EQ(before.repeated_flops > 0, config.mlp.recompute);
      EXPECT_EQ(cost.rank_flops, before.rank_flops);
      const auto rows =
          static_cast<double>(twice.registry.at("wte").value.numel());
      const double head =
          6 * static_cast<double>(kSamples * config.context) * rows;
      EXPECT_NEAR(cost.repeated_flops - before.repeated_flops,
                  (cost.rank_flops - head) / 3,
                  1e-6);
    }
  }
}

TEST(Cost, TheHeadGathersOnceAChunk) {
  model::ModelConfig config;
  config.depth = 1;
  const auto world = dist::make_null_communicator({1, 2, 0});
  dist::ProcessMesh mesh(*world, 1, 2);
  dist::ParameterRegistry registry(mesh.tp(), at::kBFloat16, at::kMeta);
  const model::Gpt2 gpt2(config, registry, {Plan::sequence, &mesh.tp()});
  // 2^24 logits of 25152 rows: 667 tokens. Twelve others: embedding and head,
  // attention, block.
  EXPECT_EQ(gpt2.cost(1, at::kCPU).tp_operations, 12 + 2);
  EXPECT_EQ(gpt2.cost(4, at::kCPU).tp_operations, 12 + 7);
  // On a GPU 2^28 logits: 10672 tokens.
  EXPECT_EQ(gpt2.cost(4, at::kCUDA).tp_operations, 12 + 1);
  EXPECT_EQ(gpt2.cost(11, at::kCUDA).tp_operations, 12 + 2);
}

TEST(Cost, OfAModelThatFitsNoMachine) {
  // 1.5 T of parameters, cut over 64 x 8 ranks: on the meta device.
  model::ModelConfig config;
  config.depth = 96;
  config.heads = 128;
  config.width = 16384;
  config.mlp.hidden_dim = 4 * config.width;
  config.mlp.experts = {4096};
  config.mlp.ranks = {90000};
  const auto world = dist::make_null_communicator({64, 8, 0});
  dist::ProcessMesh mesh(*world, 64, 8);
  dist::ParameterRegistry registry(mesh.tp(), at::kBFloat16, at::kMeta);
  const model::Gpt2 gpt2(config, registry, {Plan::sequence, &mesh.tp()});
  const auto layout = dist::lay_out(registry.parameters(),
                                    at::kBFloat16,
                                    mesh.shape(),
                                    {.zero = 1, .whole_is_partial = true});
  const auto cost = model::cost_of(gpt2, layout, 1, at::kCPU);
  EXPECT_EQ(cost.parameters, registry.global_numel());
  EXPECT_GT(cost.parameters, std::int64_t{1} << 40);
  // Two bytes a weight, on eight ranks what is cut; whole ones on each.
  EXPECT_GT(cost.bytes.weights, 2 * cost.parameters / 8);
  EXPECT_LT(cost.bytes.weights, 2 * cost.parameters);
  EXPECT_GT(cost.pass.flops, 6e3 * static_cast<double>(cost.parameters));
}

}  // namespace
}  // namespace mumoe
