// What a Mixer says it costs, against what it moves and keeps.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dist/null_communicator.h"
#include "model/cost.h"
#include "mumoe/live_bytes.h"
#include "tests/support/small_mixer.h"

namespace mumoe {
namespace {

constexpr std::int64_t kSamples = 8;

/// One rank of a tp group whose others are not there.
struct Alone {
  Alone(const model::ModelConfig& config,
        Plan plan,
        int ranks,
        at::ScalarType dtype)
      : world(dist::make_null_communicator({1, ranks, ranks - 1})),
        on(config, *world, ranks, plan, dtype) {}

  std::unique_ptr<dist::Communicator> world;
  testing::MixerOnMesh on;
};

std::int64_t calls(const dist::Communicator& group) {
  std::int64_t sum = 0;
  for (std::size_t op = 0; op < dist::kOps; ++op) {
    sum += group.traffic(static_cast<dist::Op>(op)).calls;
  }
  return sum;
}

template <class Check>
void at_all_layouts(const Check& check) {
  for (const auto& [plan, ranks] : {std::pair{Plan::sequence, 1},
                                    std::pair{Plan::sequence, 2},
                                    std::pair{Plan::sequence, 4},
                                    std::pair{Plan::bottleneck, 2},
                                    std::pair{Plan::rank, 2}}) {
    for (const auto dtype : {at::kDouble, at::kBFloat16}) {
      for (const auto& [name, config] : testing::mixer_cases()) {
        SCOPED_TRACE(fmt::format("{}, {} ranks, {}, {}",
                                 to_string(plan),
                                 ranks,
                                 at::toString(dtype),
                                 name));
        Alone rank(config, plan, ranks, dtype);
        check(rank.on);
      }
    }
  }
}

TEST(MixerCost, BytesAndCallsAreWhatARankMoves) {
  at_all_layouts([](testing::MixerOnMesh& on) {
    const auto cost = on.mixer.cost(kSamples, at::kCPU);
    const auto bytes = on.mesh.tp().total_bytes();
    const auto operations = calls(on.mesh.tp());
    on.mixer.loss(testing::made_up_batch(on.mixer.config(), kSamples), 1)
        .backward();
    EXPECT_EQ(static_cast<double>(on.mesh.tp().total_bytes() - bytes),
              cost.tp_bytes);
    EXPECT_EQ(calls(on.mesh.tp()) - operations, cost.tp_operations);
  });
}

TEST(MixerCost, KeptIsWhatTensorsHoldBetweenForwardAndBackward) {
  at_all_layouts([](testing::MixerOnMesh& on) {
    const auto batch = testing::made_up_batch(on.mixer.config(), kSamples);
    on.mixer.loss(batch, 1).backward();  // what is made once
    const double expected = on.mixer.cost(kSamples, at::kCPU).kept_bytes;
    const LiveBytes live;
    const at::Tensor loss = on.mixer.loss(batch, 1);
    EXPECT_NEAR(static_cast<double>(live.read()) / expected, 1, 0.05);
  });
}

TEST(MixerCost, OfAllRanksIsThatOfOne) {
  for (const auto& [name, config] : testing::mixer_cases()) {
    SCOPED_TRACE(name);
    Alone one(config, Plan::sequence, 1, at::kFloat);
    const auto whole = one.on.mixer.cost(kSamples, at::kCPU);
    EXPECT_DOUBLE_EQ(whole.rank_flops, whole.flops);
    EXPECT_EQ(whole.tp_bytes, 0);
    EXPECT_EQ(whole.tp_operations, 0);
    Alone four(config, Plan::sequence, 4, at::kFloat);
    const auto part = four.on.mixer.cost(kSamples, at::kCPU);
    EXPECT_DOUBLE_EQ(part.flops, whole.flops);
    // A dense hidden dim of 15 is cut into 4, 4, 4 and 3.
    EXPECT_GT(part.rank_flops, (0.25 - 1e-12) * whole.flops);
    EXPECT_LT(part.rank_flops, 0.27 * whole.flops);
    // One sample, of which no rank has a part of its own.
    EXPECT_DOUBLE_EQ(four.on.mixer.cost(1, at::kCPU).flops * kSamples,
                     whole.flops);
    Alone two(config, Plan::bottleneck, 2, at::kFloat);
    const auto repeated = two.on.mixer.cost(kSamples, at::kCPU);
    EXPECT_DOUBLE_EQ(repeated.flops, whole.flops);
    EXPECT_GT(repeated.rank_flops, whole.flops / 2);
  }
}

}  // namespace
}  // namespace mumoe
