// Seconds of collectives, products and steps, beside sums done by hand.
#include "study/predict/step_time.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mumoe::study {
namespace {

/// Round numbers: 100 GB/s in a node of 4, 40 GB/s of it to others.
Machine simple() {
  Machine machine;
  machine.peak_flops = 1e14;
  machine.memory_bandwidth = 1e12;
  machine.memory_bytes = 80e9;
  machine.multiprocessors = 100;
  machine.kernel_launch = 1e-5;
  machine.gpus_per_node = 4;
  machine.link_bandwidth = 200e9;
  machine.link_share = 0.5;
  machine.link_latency = 1e-6;
  machine.node_bandwidth = 80e9;
  machine.node_share = 0.5;
  machine.node_latency = 1e-5;
  machine.collective_latency = 5e-6;
  return machine;
}

Rates plain() {
  Rates rates;
  rates.product_share = 1;
  rates.product_ramp = 0;
  rates.wave_share = 1;
  rates.memory_share = 1;
  rates.launch = rates.start = rates.ring_step = 1;
  rates.micro_step = rates.step = 0;
  return rates;
}

Collective collective(CollectiveKind kind, double bytes, double ranks) {
  Collective one;
  one.kind = kind;
  one.bytes = bytes;
  one.ranks = ranks;
  one.ranks_per_node = std::min(ranks, 4.0);
  return one;
}

TEST(Collectives, OfOneRankAreNothing) {
  EXPECT_EQ(
      seconds_of(collective(CollectiveKind::all_reduce, 1e9, 1), simple(), {}),
      0);
}

TEST(Collectives, InANodeAreARing) {
  // 6 steps of 1 us, and 2 x 3/4 of 1 GB at 100 GB/s.
  EXPECT_NEAR(seconds_of(collective(CollectiveKind::all_reduce, 1e9, 4),
                         simple(),
                         plain()),
              5e-6 + 6e-6 + 15e-3,
              1e-12);
  // A gather and a scatter go round once.
  for (const auto kind :
       {CollectiveKind::all_gather, CollectiveKind::reduce_scatter}) {
    EXPECT_NEAR(seconds_of(collective(kind, 1e9, 4), simple(), plain()),
                5e-6 + 3e-6 + 7.5e-3,
                1e-12);
  }
}

TEST(Collectives, BetweenNodesGoAtTheirSpeedAndTakeTheirLatency) {
  // 8 ranks on 2 nodes: 14 steps, 2 of which cross; 40 GB/s.
  auto reduce = collective(CollectiveKind::all_reduce, 1e9, 8);
  EXPECT_NEAR(seconds_of(reduce, simple(), plain()),
              5e-6 + 12e-6 + 2e-5 + 1.75 / 40,
              1e-12);
  // Four groups of a rank a node share its network: 10 GB/s each.
  reduce.ranks = 2;
  reduce.ranks_per_node = 1;
  reduce.groups_per_node = 4;
  EXPECT_EQ(ring_bandwidth(reduce, simple()), 10e9);
  EXPECT_NEAR(seconds_of(reduce, simple(), plain()),
              5e-6 + 2e-5 + 1.0 / 10,
              1e-12);
}

TEST(Collectives, OfFewBytesOverManyNodesAreATree) {
  Machine machine = simple();
  auto reduce = collective(CollectiveKind::all_reduce, 8, 4096);
  // A ring would take 8190 steps; a tree 3 in the node and 10 levels, up and
  // down, each of 28 / 3.4 latencies of a ring.
  const double bytes = 2 * 8 / (0.9 * 40e9);
  EXPECT_NEAR(seconds_of(reduce, machine, plain()),
              5e-6 + 2 * 28 / 3.4 * (3e-6 + 10e-5) + bytes,
              1e-12);
  // Nothing but an all-reduce has one.
  reduce.kind = CollectiveKind::all_gather;
  EXPECT_NEAR(seconds_of(reduce, machine, plain()),
              5e-6 + 3072e-6 + 1023e-5 + 8.0 * 4095 / 4096 / 40e9,
              1e-12);
}

TEST(Products, AreWavesOfTilesOrTheirWayThroughMemory) {
  // 10 x 11 tiles of 128: two waves over 100, each 2 128^2 k / 1e12.
  const Product large{1280, 1408, 4096, 1, 3};
  const double wave = 2 * 128 * 128 * 4096 / 1e12;
  EXPECT_NEAR(seconds_of(large, simple(), plain()), 3 * 2 * wave, 1e-12);
  Rates even = plain();
  even.wave_share = 0;
  EXPECT_NEAR(seconds_of(large, simple(), even), 3 * 1.1 * wave, 1e-12);
  // k = 1: a row by a column, which memory limits.
  const Product thin{12800, 12800, 1, 1, 1};
  EXPECT_NEAR(seconds_of(thin, simple(), plain()),
              2 * (12800 + 12800 + 12800.0 * 12800) / 1e12,
              1e-12);
}

TEST(Steps, AreAsSlowAsTheSlowerOfHostAndProcessor) {
  StepWork work;
  Part part;
  part.repeats = 10;
  part.passes = {{PassKind::whole, 1e9}, {PassKind::cut, 1e9}};  // 2 ms
  part.kernels = 10;                                             // 0.1 ms
  work.parts = {part};
  const StepTime fast_host = step_time(work, simple(), plain());
  EXPECT_NEAR(fast_host.passes, 20e-3, 1e-12);
  EXPECT_NEAR(fast_host.total(), 20e-3, 1e-6);
  work.parts[0].kernels = 2000;  // 20 ms
  const StepTime slow_host = step_time(work, simple(), plain());
  EXPECT_NEAR(slow_host.total(), 200e-3, 1e-4);
  EXPECT_NEAR(slow_host.launches, 180e-3, 1e-4);
  // A rate of one kind of pass is of no other.
  Rates rates = plain();
  rates.passes[static_cast<std::size_t>(PassKind::cut)] = 2;
  work.parts[0].kernels = 0;
  EXPECT_NEAR(step_time(work, simple(), rates).total(), 30e-3, 1e-12);
}

TEST(Steps, OfACpuWaitForTheirOwnLaunches) {
  Machine cpu = simple();
  cpu.multiprocessors = 0;
  StepWork work;
  Part part;
  part.passes = {{PassKind::gate, 2e9}};  // 2 ms
  part.kernels = 100;                     // 1 ms
  work.parts = {part};
  EXPECT_NEAR(step_time(work, cpu, plain()).total(), 3e-3, 1e-12);
}

TEST(Steps, HideWhatGoesOnBehindThem) {
  StepWork work;
  Part part;
  part.passes = {{PassKind::whole, 10e9}};  // 10 ms
  auto reduce = collective(CollectiveKind::all_reduce, 1e9, 4);
  reduce.axis = Axis::dp;
  reduce.overlapped = true;  // 15.011 ms
  part.collectives = {reduce};
  work.parts = {part};
  const StepTime time = step_time(work, simple(), plain());
  EXPECT_NEAR(time.dp, 5.011e-3, 1e-9);
  EXPECT_NEAR(time.total(), 15.011e-3, 1e-9);
  work.parts[0].collectives[0].overlapped = false;
  EXPECT_NEAR(step_time(work, simple(), plain()).total(), 25.011e-3, 1e-9);
  work.parts[0].collectives[0].axis = Axis::tp;
  work.parts[0].collectives[0].times = 2;
  EXPECT_NEAR(step_time(work, simple(), plain()).tp, 30.022e-3, 1e-9);
}

}  // namespace
}  // namespace mumoe::study
