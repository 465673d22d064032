#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "dist/watch/observer.h"
#include "tests/dist/bucket_fixture.h"

// Gradients in bf16 on their way, as functions that all ranks call together.

namespace mumoe::testing::wire {

using dist::Bucket;
using dist::BucketReduction;
using dist::Collective;
using dist::Communicator;
using dist::Op;
using dist::Wire;

// Half a unit in the last place of bf16, relative.
inline constexpr double kUnit = 1.0 / 256;

/// The gradient that rank `rank` has: N(0, 1), or numbers of very different
/// size.
inline at::Tensor gradient(const Bucket& bucket, int rank, bool tame) {
  const CounterRandom random(static_cast<std::uint64_t>(rank + 1),
                             Purpose::test,
                             bucket.entries[0].parameter);
  const at::Tensor values = at::zeros({bucket.numel()}, at::kDouble);
  double* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < bucket.used(); ++i) {
    const auto index = static_cast<std::uint64_t>(2 * i);
    data[i] = random.normal(index);
    if (!tame) data[i] *= std::exp(3 * random.normal(index + 1));
  }
  return values.to(bucket.grad.scalar_type());
}

/// The sum of all ranks' gradients and of their sizes, [numel] in fp64.
struct Exact {
  at::Tensor sum;
  at::Tensor sizes;
};
inline Exact exact(const Bucket& bucket, bool tame) {
  Exact exact{at::zeros({bucket.numel()}, at::kDouble),
              at::zeros({bucket.numel()}, at::kDouble)};
  for (int r = 0; r < bucket.group->size(); ++r) {
    const at::Tensor part = gradient(bucket, r, tame).to(at::kDouble);
    exact.sum += part;
    exact.sizes += part.abs();
  }
  return exact;
}

/// Moves all buckets at once.
inline void reduce(BucketFixture& f, Wire wire, bool tame) {
  const auto& buckets = f.buckets->buckets();
  std::vector<BucketReduction> reductions(buckets.size());
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    buckets[b].grad.copy_(gradient(buckets[b], buckets[b].group->rank(), tame));
    reductions[b].start(buckets[b], wire);
  }
  for (auto& reduction : reductions) reduction.advance();
  for (auto& reduction : reductions) reduction.finish();
}

/// No element is off by more than rounding may do, however unlike the parts of
/// its sum are, and replicas have the same bits.
inline void elements_stay_within_their_bounds(Communicator& world) {
  for (const Layout& layout : layouts_of(world.size())) {
    SCOPED_TRACE(layout.describe());
    BucketFixture f(world, layout, at::kFloat);
    for (const Wire wire : {Wire::bf16, Wire::fp32}) {
      reduce(f, wire, false);
      for (const Bucket& bucket : f.buckets->buckets()) {
        const auto [sum, sizes] = exact(bucket, false);
        // Sums in fp32 round too.
        at::Tensor bound = sizes * 1e-6 + std::numeric_limits<float>::min();
        if (wire == Wire::bf16 && bucket.group->size() > 1) {
          bound += sizes * kUnit;
          if (!bucket.is_sharded()) bound += (sum.abs() + bound) * kUnit;
        }
        const at::Tensor error = (bucket.grad.to(at::kDouble) - sum).abs();
        EXPECT_TRUE(bucket.owned.of(error.le(bound)).all().item<bool>());
        if (bucket.is_sharded()) continue;
        const at::Tensor first = bucket.grad.clone();
        bucket.group->broadcast(first, 0);
        EXPECT_TRUE(at::equal(first, bucket.grad));
      }
    }
  }
}

/// The mean square error of rounding each of `x` to bf16: that of a number
/// anywhere between two neighbours, 2⁻⁷ · 2^⌊log₂|x|⌋ apart.
inline at::Tensor rounding_squares(const at::Tensor& x) {
  const at::Tensor gap = at::exp2(x.abs().log2().floor()) / 128;
  return gap.square() / 12;
}

/// The norm of the error is what rounding of all parts takes, and of the sum
/// where it is gathered: about 1.7e-3 of the gradient's norm with ZeRO, 2.4e-3
/// without.
inline void the_gradient_is_off_by_what_rounding_takes(Communicator& world) {
  if (world.size() == 1) return;
  for (const int zero : {0, 1}) {
    BucketFixture f(world, {.dp = world.size(), .zero = zero}, at::kFloat);
    reduce(f, Wire::bf16, true);
    at::Tensor found = at::zeros({1}, at::kDouble);
    double expected = 0, squares = 0;
    for (const Bucket& bucket : f.buckets->buckets()) {
      const at::Tensor sum = exact(bucket, true).sum;
      found +=
          bucket.counted.of(bucket.grad.to(at::kDouble) - sum).square().sum();
      at::Tensor rounded =
          zero == 1 ? at::zeros_like(sum) : rounding_squares(sum);
      for (int r = 0; r < world.size(); ++r) {
        rounded += rounding_squares(gradient(bucket, r, true).to(at::kDouble));
      }
      expected += rounded.sum().item<double>();
      squares += sum.square().sum().item<double>();
    }
    world.all_reduce(found);
    const double error = std::sqrt(found.item<double>());
    EXPECT_NEAR(error / std::sqrt(expected), 1, 0.15);
    EXPECT_NEAR(error / std::sqrt(squares), zero == 1 ? 1.7e-3 : 2.4e-3, 4e-4);
  }
}

/// Payload, with ½ for what travels once: half of that of fp32.
inline double bytes(const Communicator& group) {
  const auto of = [&](Op op) {
    return static_cast<double>(group.traffic(op).bytes);
  };
  return of(Op::all_reduce) + 0.5 * (of(Op::reduce_scatter) +
                                     of(Op::all_gather) + of(Op::all_to_all));
}

inline void half_the_bytes_travel(Communicator& world) {
  if (world.size() == 1) return;
  for (const int zero : {0, 1}) {
    BucketFixture f(world, {.dp = world.size(), .zero = zero}, at::kFloat);
    const double start = bytes(f.mesh.dp());
    reduce(f, Wire::fp32, true);
    const double wide = bytes(f.mesh.dp()) - start;
    reduce(f, Wire::bf16, true);
    const double narrow = bytes(f.mesh.dp()) - start - wide;
    EXPECT_GT(narrow, 0);
    EXPECT_EQ(narrow, wide / 2);
  }
}

/// One rank rounds nothing.
inline void one_rank_is_an_identity(Communicator& world) {
  const auto alone = world.split(world.rank(), 0, "alone");
  BucketFixture f(*alone, {}, at::kFloat);
  for (const Bucket& bucket : f.buckets->buckets()) {
    const at::Tensor before = gradient(bucket, 0, true);
    bucket.grad.copy_(before);
    BucketReduction reduction;
    reduction.start(bucket, Wire::bf16);
    reduction.advance();
    reduction.finish();
    EXPECT_TRUE(at::equal(bucket.grad, before));
  }
}

inline void a_nan_reaches_all_ranks(Communicator& world) {
  if (world.size() == 1) return;
  BucketFixture f(world, {.dp = world.size()}, at::kFloat);
  const Bucket& bucket = f.buckets->buckets()[0];
  bucket.grad.zero_();
  if (world.rank() == 1) {
    bucket.grad[0] = std::numeric_limits<float>::quiet_NaN();
  }
  BucketReduction reduction;
  reduction.start(bucket, Wire::bf16);
  reduction.advance();
  reduction.finish();
  EXPECT_TRUE(std::isnan(bucket.grad[0].item<float>()));
  EXPECT_EQ(bucket.grad.isnan().sum().item<std::int64_t>(), 1);
}

/// Names operations in the order in which a rank begins them, and makes ranks
/// begin them at different times.
class Order final : public dist::Observer {
 public:
  void begin(const Communicator& group, const Collective& c) override {
    ops.push_back(c.op);
    if (static_cast<int>(ops.size()) % group.size() != group.rank()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  std::vector<Op> ops;
};

/// The second half of a bucket begins when the second bucket after it starts,
/// on all ranks, however late one of them is; and once a step.
inline void halves_begin_in_one_order(Communicator& world) {
  if (world.size() == 1) return;
  Order order;
  BucketFixture f(world,
                  {.dp = world.size()},
                  at::kDouble,
                  {.wire = Wire::bf16});
  f.mesh.dp().observe(order);
  const std::size_t n = f.buckets->buckets().size();
  ASSERT_GT(n, 4u);
  std::vector<Op> expected;
  for (std::size_t b = 0; b < n; ++b) {
    expected.push_back(Op::all_to_all);
    if (b >= 2) expected.push_back(Op::all_gather);
  }
  expected.insert(expected.end(), 2, Op::all_gather);
  for (const std::int64_t micro_steps : {1, 2}) {
    order.ops.clear();
    f.backward(0, 2 * world.size(), micro_steps);
    EXPECT_EQ(order.ops, expected);
  }
}

using Check = void (*)(Communicator&);
struct NamedCheck {
  const char* name;
  Check check;
};

inline constexpr NamedCheck kChecks[] = {
    {"ElementsStayWithinTheirBounds", elements_stay_within_their_bounds},
    {"TheGradientIsOffByWhatRoundingTakes",
     the_gradient_is_off_by_what_rounding_takes},
    {"HalfTheBytesTravel", half_the_bytes_travel},
    {"OneRankIsAnIdentity", one_rank_is_an_identity},
    {"ANanReachesAllRanks", a_nan_reaches_all_ranks},
    {"HalvesBeginInOneOrder", halves_begin_in_one_order},
};

}  // namespace mumoe::testing::wire
