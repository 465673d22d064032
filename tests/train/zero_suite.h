#pragma once

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "dist/params/gradient_norm.h"
#include "dist/params/replica_check.h"
#include "dist/self_communicator.h"
#include "dist/torch_text.h"
#include "dist/watch/observer.h"
#include "run/load_checkpoint.h"
#include "tests/dist/bucket_fixture.h"
#include "tests/support/parameters.h"
#include "tests/support/save_checkpoint.h"
#include "tests/support/scratch.h"
#include "tests/support/steps.h"
#include "train/optimizer.h"

// Training with sharded optimizer state at every layout of the ranks of a
// world, as functions that all ranks call together.

namespace mumoe::testing::zero_training {

using dist::Bucket;
using dist::Communicator;

inline constexpr std::int64_t kSamples = 12;

/// Parameters that are trained.
struct Training : BucketFixture {
  Training(Communicator& world,
           const Layout& layout,
           at::ScalarType dtype = at::kDouble,
           const dist::ReducerOptions& options = {})
      : BucketFixture(world, layout, dtype, options),
        optimizer({.clip = 0.8}, *buckets) {}

  /// Steps [first, last); returns the gradient norms.
  std::vector<double> steps(std::int64_t first,
                            std::int64_t last,
                            std::int64_t micro_steps = 1) {
    std::vector<double> norms;
    for (std::int64_t step = first; step < last; ++step) {
      backward(step * kSamples, kSamples, micro_steps);
      norms.push_back(dist::gradient_norm(*buckets, mesh));
      optimizer.step(2e-2, train::clip_factor(norms.back(), 0.8));
    }
    return norms;
  }

  /// Masters and moments, whole: the same at every layout.
  std::vector<NamedTensors> state() const {
    std::vector<NamedTensors> found(3);
    at::NoGradGuard no_grad;
    for (std::size_t b = 0; b < buckets->buckets().size(); ++b) {
      const Bucket& bucket = buckets->buckets()[b];
      const auto& moments = optimizer.moments()[b];
      const at::Tensor shards[] = {bucket.master,
                                   moments.first,
                                   moments.second};
      for (std::size_t kind = 0; kind < 3; ++kind) {
        const at::Tensor flat = buckets->unshard(bucket, shards[kind]);
        for (const auto& entry : bucket.entries) {
          found[kind].tensors[buckets->parameter(entry).name] =
              buckets->gather(flat, entry).clone();
        }
      }
    }
    return found;
  }

  train::AdamW optimizer;
};

inline const char* const kKinds[] = {"master", "first moment", "second moment"};

inline void expect_near(const std::vector<NamedTensors>& found,
                        const std::vector<NamedTensors>& expected,
                        double tolerance) {
  for (std::size_t kind = 0; kind < 3; ++kind) {
    ASSERT_FALSE(expected[kind].tensors.empty());
    for (const auto& [name, tensor] : expected[kind].tensors) {
      EXPECT_LE(relative_error(found[kind].at(name), tensor), tolerance)
          << kKinds[kind] << " of " << name;
    }
  }
}

/// Every compute weight, padding included, is the rounded master on every rank
/// that holds it.
inline void expect_weights_follow_masters(const Training& training) {
  training.buckets->await();
  for (const Bucket& bucket : training.buckets->buckets()) {
    const at::Tensor flat = training.buckets->unshard(bucket, bucket.master);
    EXPECT_TRUE(at::equal(bucket.compute, flat.to(bucket.compute.dtype())));
  }
}

/// 20 steps (MUMOE_TEST_STEPS: fewer), clipped, with decay, at once and in
/// micro-steps.
inline void runs_are_those_of_one_rank(Communicator& world) {
  const auto self = dist::make_self_communicator(at::kCPU);
  Training control(*self, {});
  const auto norms = control.steps(0, compared_steps());
  const auto expected = control.state();
  if (compared_steps() >= 20) {
    EXPECT_LT(norms.back(), 0.8 * norms.front()) << "it learns something";
  }
  EXPECT_GT(norms.back(), 0.8) << "clipped throughout";
  for (const Layout& layout : layouts_of(world.size())) {
    for (const std::int64_t micro_steps : {1, 3}) {
      if (micro_steps > 1 && layout.zero == 0) continue;
      SCOPED_TRACE(fmt::format("{}, {}", layout.describe(), micro_steps));
      Training f(world, layout);
      const auto found = f.steps(0, compared_steps(), micro_steps);
      for (std::size_t s = 0; s < norms.size(); ++s) {
        EXPECT_NEAR(found[s] / norms[s], 1, 1e-10) << "norm of step " << s;
      }
      expect_near(f.state(), expected, 1e-10);
      expect_weights_follow_masters(f);
    }
  }
}

/// In the precisions of real runs, and with gradients rounded on their way:
/// what ZeRO changes is the order of sums at most.
inline void sharding_changes_rounding_alone(Communicator& world) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto wire : {dist::Wire::fp32, dist::Wire::bf16}) {
      for (Layout layout : layouts_of(world.size())) {
        if (layout.zero == 0) continue;
        SCOPED_TRACE(fmt::format("{} {}", layout.describe(), dtype));
        Training sharded(world, layout, dtype, {.wire = wire});
        sharded.steps(0, 3);
        expect_weights_follow_masters(sharded);
        layout.zero = 0;
        Training whole(world, layout, dtype, {.wire = wire});
        whole.steps(0, 3);
        expect_weights_follow_masters(whole);
        // The gathered sum is rounded to bf16 once more than the scattered one.
        const bool same_sums = wire == dist::Wire::fp32;
        expect_near(sharded.state(), whole.state(), same_sums ? 2e-6 : 1e-2);
      }
    }
  }
}

/// Bytes of masters that are no part of the compute weights, and of moments.
inline std::int64_t state_bytes(const Training& training) {
  std::int64_t bytes = 0;
  for (std::size_t b = 0; b < training.buckets->buckets().size(); ++b) {
    const Bucket& bucket = training.buckets->buckets()[b];
    const auto& moments = training.optimizer.moments()[b];
    bytes += moments.first.nbytes() + moments.second.nbytes();
    if (bucket.master.is_alias_of(bucket.compute)) continue;
    EXPECT_EQ(bucket.master.storage().nbytes(), bucket.master.nbytes());
    bytes += bucket.master.nbytes();
  }
  return bytes;
}

/// Optimizer state falls as one over the ranks of each bucket's group, but for
/// the zeros that make a bucket divide.
inline void state_falls_as_one_over_ranks(Communicator& world) {
  for (const auto dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    for (Layout layout : layouts_of(world.size())) {
      if (layout.zero == 0) continue;
      SCOPED_TRACE(fmt::format("{} {}", layout.describe(), dtype));
      const Training sharded(world, layout, dtype);
      layout.zero = 0;
      const Training whole(world, layout, dtype);
      std::int64_t expected = 0;
      for (const Bucket& bucket : whole.buckets->buckets()) {
        const bool copy =
            bucket.compute.scalar_type() != whole.registry.master_dtype();
        expected += bucket.numel() / bucket.group->size() * (copy ? 3 : 2) *
                    static_cast<std::int64_t>(bucket.grad.element_size());
      }
      EXPECT_EQ(state_bytes(sharded), expected);
      if (layout.dp == world.size()) {
        EXPECT_EQ(state_bytes(whole), expected * world.size());
      }
    }
  }
}

/// The same folder on all ranks: rank 0's.
inline std::filesystem::path shared_folder(Communicator& world,
                                           const ScratchFolder& own) {
  const std::string text = own.path().string();
  const at::Tensor bytes = at::zeros({512}, at::kLong);
  for (std::size_t i = 0; i < text.size(); ++i) bytes[i] = text[i];
  world.broadcast(bytes, 0);
  std::string path;
  for (std::int64_t i = 0; bytes[i].item<std::int64_t>() != 0; ++i) {
    path += static_cast<char>(bytes[i].item<std::int64_t>());
  }
  return path;
}

/// What one layout saves, with or without ZeRO, any other loads: the same
/// tensors to the bit, and the run goes on as that of one rank.
inline void checkpoints_fit_any_layout(Communicator& world) {
  const ScratchFolder scratch;
  const auto folder = shared_folder(world, scratch);
  const auto self = dist::make_self_communicator(at::kCPU);
  Training control(*self, {});
  control.steps(0, 6);
  const auto expected = control.state();
  for (const Layout& from : layouts_of(world.size())) {
    Training saved(world, from);
    saved.steps(0, 5);
    testing::save_checkpoint(folder / from.describe(),
                             {5, 60, {}},
                             *saved.buckets,
                             saved.optimizer.state(),
                             saved.mesh,
                             1);
    const auto state = saved.state();
    for (const Layout& to : layouts_of(world.size())) {
      SCOPED_TRACE(from.describe() + " to " + to.describe());
      Training loaded(world, to);
      run::load_checkpoint(folder / from.describe() / "step_00000005",
                           *loaded.buckets,
                           loaded.optimizer.state(),
                           world);
      loaded.optimizer.set_steps(5);
      expect_near(loaded.state(), state, 0);
      expect_weights_follow_masters(loaded);
      EXPECT_EQ(loaded.optimizer.steps(), 5);
      loaded.steps(5, 6);
      expect_near(loaded.state(), expected, 1e-10);
    }
  }
  world.barrier();
}

/// At the same layout the resumed run has the bits of the uninterrupted one.
inline void resuming_changes_no_bit(Communicator& world) {
  const ScratchFolder scratch;
  const auto folder = shared_folder(world, scratch);
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    for (const Layout& layout : layouts_of(world.size())) {
      SCOPED_TRACE(fmt::format("{} {}", layout.describe(), dtype));
      const dist::ReducerOptions wire{dtype == at::kFloat ? dist::Wire::fp32
                                                          : dist::Wire::bf16};
      Training whole(world, layout, dtype, wire);
      whole.steps(0, 4);
      testing::save_checkpoint(
          folder / fmt::format("{}{}", layout.describe(), dtype),
          {4, 48, {}},
          *whole.buckets,
          whole.optimizer.state(),
          whole.mesh,
          1);
      whole.steps(4, 7);
      Training resumed(world, layout, dtype, wire);
      run::load_checkpoint(folder /
                               fmt::format("{}{}", layout.describe(), dtype) /
                               "step_00000004",
                           *resumed.buckets,
                           resumed.optimizer.state(),
                           world);
      resumed.optimizer.set_steps(4);
      resumed.steps(4, 7);
      expect_near(resumed.state(), whole.state(), 0);
      expect_weights_follow_masters(resumed);
    }
  }
  world.barrier();
}

/// Keeps the masters that are updated last as they are when the first gather
/// begins.
class FirstGather final : public dist::Observer {
 public:
  void begin(const Communicator&, const dist::Collective& c) override {
    if (c.op != dist::Op::all_gather || seen.defined()) return;
    seen = last.clone();
  }
  at::Tensor last;
  at::Tensor seen;
};

/// The weights of the model's front are on their way before the last bucket is
/// updated, and all have been by the time a forward pass has awaited them.
inline void gathers_start_during_the_update(Communicator& world) {
  if (world.size() == 1) return;
  FirstGather first;
  Training f(world, {.dp = world.size(), .zero = 1}, at::kFloat);
  f.mesh.dp().observe(first);
  first.last = f.buckets->buckets()[0].master;
  const at::Tensor before = first.last.clone();
  f.steps(0, 1);
  ASSERT_TRUE(first.seen.defined());
  EXPECT_TRUE(at::equal(first.seen, before));
  EXPECT_FALSE(at::equal(first.last, before));
  expect_weights_follow_masters(f);
}

/// Right after an update, while the weights of a late rank are not there yet.
inline void replicas_are_compared_once_gathered(Communicator& world) {
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    for (const Layout& layout : layouts_of(world.size())) {
      SCOPED_TRACE(fmt::format("{} {}", layout.describe(), dtype));
      Training f(world, layout, dtype);
      f.backward(0, kSamples, 1);
      if (world.rank() == world.size() - 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
      f.optimizer.step(2e-2, 1);
      EXPECT_NO_THROW(dist::ReplicaCheck(*f.buckets, f.mesh).run(1));
    }
  }
}

using Check = void (*)(Communicator&);
struct NamedCheck {
  const char* name;
  Check check;
};

inline constexpr NamedCheck kChecks[] = {
    {"RunsAreThoseOfOneRank", runs_are_those_of_one_rank},
    {"ShardingChangesRoundingAlone", sharding_changes_rounding_alone},
    {"StateFallsAsOneOverRanks", state_falls_as_one_over_ranks},
    {"GathersStartDuringTheUpdate", gathers_start_during_the_update},
    {"ReplicasAreComparedOnceGathered", replicas_are_compared_once_gathered},
    {"CheckpointsFitAnyLayout", checkpoints_fit_any_layout},
    {"ResumingChangesNoBit", resuming_changes_no_bit},
};

}  // namespace mumoe::testing::zero_training
