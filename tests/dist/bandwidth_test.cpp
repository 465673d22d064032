#include "dist/watch/bandwidth.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "dist/null_communicator.h"
#include "dist/self_communicator.h"
#include "dist/watch/link_model.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

TEST(Bandwidth, FactorsAreThoseOfRings) {
  EXPECT_DOUBLE_EQ(bus_factor(Op::all_reduce, 4), 1.5);
  EXPECT_DOUBLE_EQ(bus_factor(Op::all_gather, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Op::reduce_scatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Op::all_to_all, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(Op::broadcast, 4), 1);
  for (int op = 0; op < static_cast<int>(kOps); ++op) {
    EXPECT_EQ(bus_factor(static_cast<Op>(op), 1), 0);
  }
  EXPECT_DOUBLE_EQ(Bandwidth(1e-3, 1e9).seconds(Op::all_reduce, 2, 1 << 20),
                   1e-3 + 1048576e-9);
}

TEST(Bandwidth, OneRankHasNoLimit) {
  const auto self = make_self_communicator(at::kCPU);
  const Bandwidth found = measure_bandwidth(*self);
  EXPECT_EQ(found.latency_s, 0);
  EXPECT_TRUE(std::isinf(found.bytes_per_s));
  EXPECT_EQ(found.seconds(Op::all_reduce, 1, 1 << 30), 0);
}

TEST(Bandwidth, AllRanksGetTheSame) {
  std::vector<Bandwidth> found(3);
  ThreadWorld::run(3, [&](Communicator& world) {
    world.set_deadline(60s);
    found[world.rank()] = measure_bandwidth(world, 1 << 20);
  });
  EXPECT_GT(found[0].latency_s, 0);
  EXPECT_GT(found[0].bytes_per_s, 0);
  EXPECT_TRUE(std::isfinite(found[0].bytes_per_s));
  for (const Bandwidth& other : found) {
    EXPECT_EQ(other.latency_s, found[0].latency_s);
    EXPECT_EQ(other.bytes_per_s, found[0].bytes_per_s);
  }
}

TEST(Bandwidth, FindsThatOfAKnownLink) {
  LinkModel link({.latency_s = 2e-3, .bytes_per_s = 0.3e9});
  const auto world = make_null_communicator({.dp = 8});
  world->observe(link);
  const Bandwidth found = measure_bandwidth(*world);
  // Sleeping takes longer on a loaded machine, never less.
  EXPECT_GE(found.latency_s, 2e-3);
  EXPECT_LE(found.latency_s, 6e-3);
  EXPECT_GE(found.bytes_per_s, 0.15e9);
  EXPECT_LE(found.bytes_per_s, 0.36e9);
  // It stops before an all_reduce takes long: 4 MiB take 24 ms here.
  EXPECT_LE(world->traffic(Op::all_reduce).bytes, 4 * (6 << 20));
}

}  // namespace
}  // namespace mumoe::dist
