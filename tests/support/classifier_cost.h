#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>

#include "dist/null_communicator.h"
#include "mumoe/live_bytes.h"
#include "tests/support/classifier_on_mesh.h"

// What a model of images says it costs, against what one rank of a tp group
// whose others are not there moves and keeps. `OnMesh`: a `ClassifierOnMesh`,
// `cases`: names and configurations.

namespace mumoe::testing {

template <class OnMesh>
struct Alone {
  Alone(const model::ModelConfig& config,
        Plan plan,
        int ranks,
        at::ScalarType dtype)
      : world(dist::make_null_communicator({1, ranks, ranks - 1})),
        on(config, *world, ranks, plan, dtype) {}

  std::unique_ptr<dist::Communicator> world;
  OnMesh on;
};

inline std::int64_t calls(const dist::Communicator& group) {
  std::int64_t sum = 0;
  for (std::size_t op = 0; op < dist::kOps; ++op) {
    sum += group.traffic(static_cast<dist::Op>(op)).calls;
  }
  return sum;
}

template <class OnMesh, class Cases, class Check>
void at_all_layouts(const Cases& cases, const Check& check) {
  for (const auto& [plan, ranks] : {std::pair{Plan::sequence, 1},
                                    std::pair{Plan::sequence, 2},
                                    std::pair{Plan::sequence, 4},
                                    std::pair{Plan::bottleneck, 2},
                                    std::pair{Plan::rank, 2}}) {
    for (const auto dtype : {at::kDouble, at::kBFloat16}) {
      for (const auto& [name, config] : cases) {
        SCOPED_TRACE(fmt::format("{}, {} ranks, {}, {}",
                                 to_string(plan),
                                 ranks,
                                 at::toString(dtype),
                                 name));
        Alone<OnMesh> rank(config, plan, ranks, dtype);
        check(rank.on);
      }
    }
  }
}

/// Bytes and calls of a pass are those that the tp group counts.
template <class OnMesh, class Cases>
void expect_moved(const Cases& cases, std::int64_t samples) {
  at_all_layouts<OnMesh>(cases, [&](OnMesh& on) {
    const auto cost = on.model.cost(samples, at::kCPU);
    const auto bytes = on.mesh.tp().total_bytes();
    const auto operations = calls(on.mesh.tp());
    on.model.loss(made_up_batch(on.model.config(), samples), 1).backward();
    EXPECT_EQ(static_cast<double>(on.mesh.tp().total_bytes() - bytes),
              cost.tp_bytes);
    EXPECT_EQ(calls(on.mesh.tp()) - operations, cost.tp_operations);
  });
}

/// What is kept is what tensors hold between forward and backward.
template <class OnMesh, class Cases>
void expect_kept(const Cases& cases, std::int64_t samples) {
  at_all_layouts<OnMesh>(cases, [&](OnMesh& on) {
    const auto batch = made_up_batch(on.model.config(), samples);
    on.model.loss(batch, 1).backward();  // what is made once
    const double expected = on.model.cost(samples, at::kCPU).kept_bytes;
    const LiveBytes live;
    const at::Tensor loss = on.model.loss(batch, 1);
    EXPECT_NEAR(static_cast<double>(live.read()) / expected, 1, 0.05);
  });
}

/// The operations of all ranks are those of one.
template <class OnMesh, class Cases>
void expect_shared(const Cases& cases, std::int64_t samples) {
  for (const auto& [name, config] : cases) {
    SCOPED_TRACE(name);
    Alone<OnMesh> one(config, Plan::sequence, 1, at::kFloat);
    const auto whole = one.on.model.cost(samples, at::kCPU);
    EXPECT_DOUBLE_EQ(whole.rank_flops, whole.flops);
    EXPECT_EQ(whole.tp_bytes, 0);
    EXPECT_EQ(whole.tp_operations, 0);
    Alone<OnMesh> four(config, Plan::sequence, 4, at::kFloat);
    const auto part = four.on.model.cost(samples, at::kCPU);
    EXPECT_DOUBLE_EQ(part.flops, whole.flops);
    // A dense hidden dim of 15 is cut into 4, 4, 4 and 3.
    EXPECT_GT(part.rank_flops, (0.25 - 1e-12) * whole.flops);
    EXPECT_LT(part.rank_flops, 0.27 * whole.flops);
    // One sample, of which no rank has a part of its own.
    EXPECT_DOUBLE_EQ(
        four.on.model.cost(1, at::kCPU).flops * static_cast<double>(samples),
        whole.flops);
    Alone<OnMesh> two(config, Plan::bottleneck, 2, at::kFloat);
    const auto repeated = two.on.model.cost(samples, at::kCPU);
    EXPECT_DOUBLE_EQ(repeated.flops, whole.flops);
    EXPECT_GT(repeated.rank_flops, whole.flops / 2);
  }
}

}  // namespace mumoe::testing
