// Time that nobody waits for: of a host that computes, of one that queues, and
// of networks beside them.
#include "study/simulate/virtual_clock.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "dist/null_communicator.h"
#include "dist/self_communicator.h"
#include "study/predict/axis_group.h"
#include "study/simulate/taken_time.h"
#include "study/simulate/virtual_network.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::study {
namespace {

TEST(VirtualClock, AHostThatComputesIsBusy) {
  VirtualClock clock(/*queues=*/false, /*keeps=*/false);
  clock.compute("a", 2, 100);  // a CPU launches nothing
  EXPECT_DOUBLE_EQ(clock.now(), 2);
  const double end = clock.send("dp", "sum", 3);
  EXPECT_DOUBLE_EQ(end, 5);
  clock.compute("b", 1, 0);
  clock.await("dp", end);
  EXPECT_DOUBLE_EQ(clock.now(), 5);
  EXPECT_DOUBLE_EQ(clock.waited().at("dp"), 2) << "1 of 3 is hidden";
  clock.await("dp", end);
  EXPECT_DOUBLE_EQ(clock.waited().at("dp"), 2);
}

TEST(VirtualClock, AHostThatQueuesIsAhead) {
  VirtualClock clock(/*queues=*/true, /*keeps=*/true);
  clock.compute("a", 10, 1);
  clock.compute("b", 10, 1);
  EXPECT_DOUBLE_EQ(clock.now(), 21) << "the first launch, then the queue";
  EXPECT_DOUBLE_EQ(clock.idle(), 1);
  // The host's own is not behind what it queued; what is sent of the queue is.
  EXPECT_DOUBLE_EQ(clock.send("world", "flag", 2, /*of_host=*/true), 4);
  const double sum = clock.send("dp", "sum", 5);
  EXPECT_DOUBLE_EQ(sum, 26);
  clock.await("dp", sum);
  clock.compute("c", 1, 1);
  EXPECT_DOUBLE_EQ(clock.now(), 27);
  clock.read_back();
  clock.compute("d", 1, 1);
  EXPECT_DOUBLE_EQ(clock.now(), 29) << "the queue had run empty";
  EXPECT_DOUBLE_EQ(clock.idle(), 2);
}

TEST(VirtualClock, AHostThatWaitsIsHiddenBehindItsQueue) {
  VirtualClock clock(true, false);
  clock.compute("a", 10, 1);
  clock.await_on_host("world", clock.send("world", "flag", 5, true));
  clock.compute("b", 1, 1);
  EXPECT_FALSE(clock.waited().contains("world")) << "until 6, of 11";
  EXPECT_DOUBLE_EQ(clock.now(), 12);
  clock.read_back();
  clock.await_on_host("world", clock.send("world", "flag", 5, true));
  clock.compute("c", 1, 1);
  EXPECT_DOUBLE_EQ(clock.waited().at("world"), 5);
  EXPECT_DOUBLE_EQ(clock.idle(), 1 + 1);
  EXPECT_DOUBLE_EQ(clock.now(), 19);
}

TEST(VirtualClock, ANetworkTakesOneAfterTheOther) {
  VirtualClock clock(false, false);
  EXPECT_DOUBLE_EQ(clock.send("link", "a", 2), 2);
  EXPECT_DOUBLE_EQ(clock.send("link", "b", 2), 4);
  EXPECT_DOUBLE_EQ(clock.send("other", "c", 1), 1);
  clock.await_on_host("link", 4);
  EXPECT_DOUBLE_EQ(clock.send("link", "d", 2), 6);
}

TEST(VirtualClock, TheTraceHasARowOfEach) {
  VirtualClock clock(false, true);
  clock.phase("forward");
  clock.compute("product", 1e-3, 0);
  clock.await("tp", clock.send("tp", "sum", 2e-3));
  clock.phase("backward");
  const auto trace = nlohmann::json::parse(
      chrome_trace(clock.spans(), 0, "rank 0 of 8 (simulated)"));
  const auto find = [&](const std::string& name) {
    for (const auto& event : trace) {
      if (event.at("ph") == "X" && event.at("name") == name) return event;
    }
    ADD_FAILURE() << name << " is not in " << trace.dump();
    return trace;
  };
  EXPECT_DOUBLE_EQ(find("product").at("dur").get<double>(), 1000);
  EXPECT_DOUBLE_EQ(find("sum").at("ts").get<double>(), 1000);
  EXPECT_DOUBLE_EQ(find("sum").at("dur").get<double>(), 2000);
  EXPECT_DOUBLE_EQ(find("forward").at("dur").get<double>(), 3000);
  EXPECT_DOUBLE_EQ(find("tp").at("dur").get<double>(), 2000) << "a wait";
}

TEST(VirtualNetwork, GroupsFillNodes) {
  // Two nodes of eight; tp's ranks are neighbours.
  const dist::MeshShape shape{.dp = 4, .tp = 4};
  const auto group = [&](Group axis) { return over_group(axis, shape, 8); };
  EXPECT_EQ(group(Group::tp).ranks, 4);
  EXPECT_EQ(group(Group::tp).ranks_per_node, 4);
  EXPECT_EQ(group(Group::dp).ranks, 4);
  EXPECT_EQ(group(Group::dp).ranks_per_node, 2);
  EXPECT_EQ(group(Group::dp).groups_per_node, 4);
  EXPECT_EQ(group(Group::all).ranks, 16);
  EXPECT_EQ(group(Group::all).ranks_per_node, 8);
  // A tp group of two nodes: one rank of each of dp's groups a node.
  const auto wide = over_group(Group::dp, {.dp = 2, .tp = 16}, 8);
  EXPECT_EQ(wide.ranks_per_node, 1);
  EXPECT_EQ(wide.groups_per_node, 8);

  const auto seconds = [&](dist::Op op) {
    NetworkModel model;
    model.machine = Machines().named("h100-80g");
    const auto world = dist::make_null_communicator({.dp = 4, .tp = 4});
    return model.seconds(*world, {.op = op, .bytes = 1 << 30}, shape);
  };
  EXPECT_NEAR(seconds(dist::Op::all_reduce) / seconds(dist::Op::all_gather),
              2,
              0.1)
      << "an all_gather sends each byte once";
}

TEST(VirtualNetwork, ALinkTakesLatencyAndItsShareOfTheBytes) {
  const auto world = dist::make_null_communicator({.dp = 4, .tp = 1});
  NetworkModel model;
  model.link = dist::Bandwidth{1e-3, 1e6};
  const dist::Collective sum{.op = dist::Op::all_reduce, .bytes = 2000};
  EXPECT_DOUBLE_EQ(model.seconds(*world, sum, {.dp = 4, .tp = 1}),
                   1e-3 + 1.5 * 2000 / 1e6);
}

TEST(VirtualNetwork, TakesItsPartOfAHostThatComputes) {
  const auto world = dist::make_null_communicator({.dp = 4, .tp = 1});
  NetworkModel model;
  const dist::Collective sum{.op = dist::Op::all_reduce, .bytes = 2000};
  EXPECT_DOUBLE_EQ(model.taken(*world, sum), 0);
  model.link = dist::Bandwidth{1, 1e6};
  model.taken_s = 1e-5;
  EXPECT_DOUBLE_EQ(model.taken(*world, sum), 1.5 * 2000 * 1e-5);

  class Nothing final : public OperationSink {
    void operation(const Operation&) override {}
  } nothing;
  OperationWatch watch(nothing);
  VirtualClock clock(/*queues=*/false, /*keeps=*/false);
  VirtualNetwork network(model, {.dp = 4, .tp = 1}, clock, watch);
  network.begin(*world, sum);
  auto work = network.started(*world, sum, {});
  EXPECT_DOUBLE_EQ(clock.now(), 0.03);
  clock.compute("a", 0.2, 0);
  EXPECT_DOUBLE_EQ(clock.now(), 0.23) << "what is computed beside it is later";
  work.wait();
  EXPECT_DOUBLE_EQ(clock.now(), 1.003) << "its own end is not";
  EXPECT_DOUBLE_EQ(network.take_taken(), 0.03);
  EXPECT_DOUBLE_EQ(network.take_taken(), 0);
  watch.pause();
}

TEST(TakenTime, IsOfSeveralRanks) {
  const auto self = dist::make_self_communicator(at::kCPU);
  EXPECT_EQ(measure_taken(*self, {0, 1e9}), 0);
  dist::ThreadWorld::run(2, [](dist::Communicator& world) {
    const double taken = measure_taken(world, {1e-5, 1e9});
    EXPECT_GE(taken, 0);
    EXPECT_LT(taken, 1e-6) << "of a byte";
  });
}

}  // namespace
}  // namespace mumoe::study
