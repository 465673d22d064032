#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dist/params/gradient_norm.h"
#include "dist/self_communicator.h"
#include "dist/torch_text.h"
#include "dist/watch/observer.h"
#include "tests/dist/bucket_fixture.h"
#include "tests/support/parameters.h"

// What sharded and whole buckets must do at every layout of the ranks of a
// world, as functions that all ranks call together.

namespace mumoe::testing::zero {

using dist::Bucket;
using dist::BucketEntry;
using dist::Collective;
using dist::Communicator;
using dist::Op;

inline constexpr std::int64_t kSamples = 12;

/// The sum over the world of 1 for every element that a rank counts is the
/// number of elements of the model, padding included, at any layout; and
/// intervals of a group follow one another.
inline void intervals_cover_each_bucket(Communicator& world) {
  for (const Layout& layout : layouts_of(world.size())) {
    SCOPED_TRACE(layout.describe());
    BucketFixture f(world, layout, at::kFloat);
    for (const Bucket& bucket : f.buckets->buckets()) {
      const auto& all =
          bucket.cut || !layout.whole_is_partial ? f.mesh.dp() : f.mesh.dp_tp();
      EXPECT_EQ(bucket.group, &all);
      EXPECT_EQ(bucket.numel() % all.size(), 0);
      EXPECT_LT(bucket.numel() - bucket.used(), all.size() * bucket.align);
      EXPECT_EQ(bucket.is_sharded(), layout.zero == 1 && all.size() > 1);
      EXPECT_EQ(bucket.owned.count * (layout.zero == 1 ? all.size() : 1),
                bucket.numel());
      EXPECT_EQ(bucket.owned.begin,
                layout.zero == 1 ? all.rank() * bucket.owned.count : 0);
      EXPECT_EQ(bucket.master.numel(), bucket.owned.count);

      const at::Tensor counted = at::zeros({bucket.numel()}, at::kLong);
      bucket.counted.of(counted).fill_(1);
      (bucket.cut ? f.mesh.dp() : f.mesh.dp_tp()).all_reduce(counted);
      EXPECT_TRUE(counted.eq(1).all().item<bool>());
    }
  }
}

/// Reductions of gradients that this rank has begun.
inline std::int64_t reductions(const dist::ProcessMesh& mesh) {
  std::int64_t calls = 0;
  for (const Communicator* group : {&mesh.dp(), &mesh.dp_tp()}) {
    calls += group->traffic(Op::all_reduce).calls +
             group->traffic(Op::reduce_scatter).calls;
  }
  return calls;
}

/// Sums, norms and calls, beside those of one rank.
inline void gradients_are_those_of_one_rank(Communicator& world) {
  const auto self = dist::make_self_communicator(at::kCPU);
  BucketFixture control(*self, {}, at::kDouble);
  std::vector<NamedTensors> expected;
  std::vector<double> norms;
  for (std::int64_t step = 0; step < 3; ++step) {
    control.backward(step * kSamples, kSamples, 1);
    expected.push_back(whole_tensors(*control.buckets, &Bucket::grad));
    norms.push_back(gradient_norm(*control.buckets, control.mesh));
  }
  for (const Layout& layout : layouts_of(world.size())) {
    SCOPED_TRACE(layout.describe());
    BucketFixture f(world, layout, at::kDouble);
    // The second step finds the gradients of the first in its buckets.
    for (std::int64_t step = 0; step < 3; ++step) {
      // What lies behind the gradients does not count, whatever it is.
      for (const Bucket& bucket : f.buckets->buckets()) {
        bucket.grad.slice(0, bucket.used()).fill_(7);
      }
      const std::int64_t before = reductions(f.mesh);
      const std::int64_t micro_steps = step == 2 ? kSamples / layout.dp : 1;
      f.backward(step * kSamples, kSamples, micro_steps);
      std::int64_t moved = 0;
      for (const Bucket& bucket : f.buckets->buckets()) {
        moved += bucket.group->size() > 1;
      }
      EXPECT_EQ(reductions(f.mesh) - before, moved) << "once a step";
      for (const auto& [name, grad] :
           whole_tensors(*f.buckets, &Bucket::grad).tensors) {
        EXPECT_LT(relative_error(grad, expected[step].tensors.at(name)), 1e-13)
            << name;
      }
      const double norm = gradient_norm(*f.buckets, f.mesh);
      EXPECT_NEAR(norm / norms[step], 1, 1e-13);
      const at::Tensor first = at::full({1}, norm, at::kDouble);
      world.broadcast(first, 0);
      EXPECT_EQ(first.item<double>(), norm) << "the same bits on every rank";
    }
  }
}

/// Whole tensors into shards and back, and masters into compute weights.
inline void assigned_weights_come_back(Communicator& world) {
  for (const Layout& layout : layouts_of(world.size())) {
    for (const auto dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
      SCOPED_TRACE(fmt::format("{} {}", layout.describe(), dtype));
      BucketFixture f(world, layout, dtype);
      const auto master = f.registry.master_dtype();
      const auto value_of = [&](const dist::Parameter& p) {
        return drawn(p, 77).to(master);
      };
      const auto expect_values = [&](double factor) {
        for (const auto& [name, whole] :
             whole_tensors(*f.buckets, &Bucket::master).tensors) {
          EXPECT_TRUE(at::equal(whole, value_of(f.registry.at(name)) * factor));
        }
        for (const dist::Parameter& p : f.registry.parameters()) {
          EXPECT_TRUE(at::equal(
              p.value,
              f.registry.cut(p, value_of(p) * factor).to(p.value.dtype())))
              << p.name;
        }
      };
      for (const Bucket& bucket : f.buckets->buckets()) {
        for (const BucketEntry& entry : bucket.entries) {
          f.buckets->assign(value_of(f.buckets->parameter(entry)),
                            bucket,
                            entry);
        }
      }
      expect_values(1);
      for (const Bucket& bucket : f.buckets->buckets()) bucket.master.mul_(2);
      f.buckets->refresh_compute();
      expect_values(2);
      for (const Bucket& bucket : f.buckets->buckets()) {
        const at::Tensor shard = at::zeros_like(bucket.master);
        for (const BucketEntry& entry : bucket.entries) {
          f.buckets->scatter(value_of(f.buckets->parameter(entry)),
                             bucket,
                             entry,
                             shard);
        }
        EXPECT_TRUE(at::equal(shard * 2, bucket.master));
      }
    }
  }
}

/// Initial values do not depend on the layout.
inline void initial_weights_are_those_of_one_rank(Communicator& world) {
  const auto self = dist::make_self_communicator(at::kCPU);
  BucketFixture control(*self, {}, at::kBFloat16);
  const auto expected = whole_tensors(*control.buckets, &Bucket::master);
  for (const Layout& layout : layouts_of(world.size())) {
    SCOPED_TRACE(layout.describe());
    BucketFixture f(world, layout, at::kBFloat16);
    for (const auto& [name, whole] :
         whole_tensors(*f.buckets, &Bucket::master).tensors) {
      EXPECT_TRUE(at::equal(whole, expected.tensors.at(name))) << name;
    }
    for (const Bucket& bucket : f.buckets->buckets()) {
      EXPECT_TRUE(at::equal(bucket.owned.of(bucket.compute),
                            bucket.master.to(bucket.compute.scalar_type())));
    }
  }
}

/// Records gathers in the order of their start, and which were waited for.
class GatherLog final : public dist::Observer {
 public:
  dist::Work started(const Communicator&,
                     const Collective& collective,
                     dist::Work work) override {
    if (collective.op != Op::all_gather) return work;
    elements.push_back(collective.elements);
    waited.push_back(false);
    return dist::Work(
        std::make_shared<Watched>(*this, waited.size() - 1, std::move(work)));
  }

  std::vector<std::int64_t> elements;
  std::vector<bool> waited;

 private:
  struct Watched final : dist::Work::State {
    Watched(GatherLog& log, std::size_t index, dist::Work work)
        : log(log), index(index), work(std::move(work)) {}
    void wait() override {
      work.wait();
      log.waited[index] = true;
    }
    bool done() override { return work.done(); }
    GatherLog& log;
    std::size_t index;
    dist::Work work;
  };
};

/// Gathers start with the model's front, and `await` waits for no other bucket
/// than those that hold the parameters it was asked for.
inline void gathers_are_awaited_one_by_one(Communicator& world) {
  if (world.size() == 1) return;
  GatherLog log;
  BucketFixture f(world, {.dp = world.size(), .zero = 1}, at::kBFloat16);
  f.mesh.dp().observe(log);
  const auto& buckets = f.buckets->buckets();
  ASSERT_GT(buckets.size(), 5u);
  for (const Bucket& bucket : buckets) {
    bucket.owned.of(bucket.compute).fill_(world.rank() + 1);
  }
  for (std::size_t b = buckets.size(); b-- > 0;) f.buckets->start_gather(b);
  ASSERT_EQ(log.elements.size(), buckets.size());
  std::size_t last = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const Bucket& bucket = buckets[buckets.size() - 1 - i];
    EXPECT_EQ(log.elements[i], bucket.numel());
    EXPECT_GE(bucket.entries.back().parameter, last) << "by first use";
    last = bucket.entries.back().parameter;
  }
  const std::size_t parameters = f.registry.parameters().size();
  f.buckets->await(3, 3);
  for (const bool waited : log.waited) EXPECT_FALSE(waited);
  for (const dist::Parameter& p : f.registry.parameters()) {
    EXPECT_THROW(p.value.sum(), c10::Error) << p.name << " is on its way";
  }
  for (std::size_t first = 0; first < parameters; first += 4) {
    const std::size_t end = std::min(first + 4, parameters);
    f.buckets->await(first, end);
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      const Bucket& bucket = buckets[buckets.size() - 1 - i];
      EXPECT_EQ(log.waited[i], bucket.entries.back().parameter < end);
      if (!log.waited[i]) continue;
      for (int r = 0; r < world.size(); ++r) {
        EXPECT_TRUE(
            bucket.compute.narrow(0, r * bucket.owned.count, bucket.owned.count)
                .eq(r + 1)
                .all()
                .item<bool>());
      }
    }
  }
}

using Check = void (*)(Communicator&);
struct NamedCheck {
  const char* name;
  Check check;
};

inline constexpr NamedCheck kChecks[] = {
    {"IntervalsCoverEachBucket", intervals_cover_each_bucket},
    {"GradientsAreThoseOfOneRank", gradients_are_those_of_one_rank},
    {"AssignedWeightsComeBack", assigned_weights_come_back},
    {"InitialWeightsAreThoseOfOneRank", initial_weights_are_those_of_one_rank},
    {"GathersAreAwaitedOneByOne", gathers_are_awaited_one_by_one},
};

}  // namespace mumoe::testing::zero
