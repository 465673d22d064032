#include "dist/watch/link_model.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "dist/null_communicator.h"
#include "dist/process_mesh.h"
#include "tests/dist/communicator_suite.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;
using Clock = Work::Clock;

Clock::time_point end_of(const Work& work) {
  work.wait();
  EXPECT_TRUE(work.done());
  EXPECT_TRUE(work.ended().has_value());
  return work.ended().value_or(Clock::time_point());
}

TEST(LinkModel, AnOperationTakesItsTime) {
  const auto world = make_null_communicator({.dp = 4});
  LinkModel link({.latency_s = 0.005, .bytes_per_s = 1e6});
  world->observe(link);
  const at::Tensor x = at::zeros({2000}, at::kFloat);  // 8 kB: 12 ms at 1.5
  const auto before = Clock::now();
  const Work work = world->all_reduce_async(x);
  const auto after = Clock::now();
  const auto end = end_of(work);
  EXPECT_GE(end, before + 17ms);
  EXPECT_LE(end, after + 17ms);
  EXPECT_GE(Clock::now(), end);
}

TEST(LinkModel, OperationsOfAllGroupsQueueOnOneLink) {
  const auto world = make_null_communicator({.dp = 2, .tp = 2});
  LinkModel link({.latency_s = 0, .bytes_per_s = 1e6});
  ProcessMesh mesh(*world, 2, 2);
  mesh.observe(link);
  const at::Tensor x = at::zeros({100'000}, at::kFloat);  // 400 ms
  const at::Tensor y = at::zeros({10'000}, at::kFloat);   // 20 ms as a gather
  const Work first = mesh.dp().all_reduce_async(x);
  const Work second = mesh.tp().all_gather_async(x.narrow(0, 0, 5000), y);
  EXPECT_FALSE(first.done());
  EXPECT_FALSE(first.ended().has_value());
  EXPECT_EQ(end_of(second) - end_of(first), 20ms);
}

TEST(LinkModel, TimeRunsFromTheStartOfAnOperation) {
  const auto world = make_null_communicator({.dp = 2});
  LinkModel link({.latency_s = 0.05, .bytes_per_s = 1e9});
  world->observe(link);
  const at::Tensor x = at::zeros({4}, at::kFloat);
  const Work work = world->all_reduce_async(x);
  std::this_thread::sleep_for(60ms);  // computes
  EXPECT_TRUE(work.done());
  const auto end = *work.ended();
  work.wait();
  EXPECT_EQ(*work.ended(), end);
}

TEST(LinkModel, IsNotDoneBeforeTheRealEnd) {
  ThreadWorld::run(2, [](Communicator& world) {
    world.set_deadline(60s);
    const auto group = world.split(0, world.rank(), "dp");
    LinkModel link({.latency_s = 0.001, .bytes_per_s = 1e9});
    group->observe(link);
    const at::Tensor x = at::ones({4}, at::kFloat);
    if (world.rank() == 1) {
      world.barrier();
      group->all_reduce(x);
    } else {
      const Work work = group->all_reduce_async(x);
      std::this_thread::sleep_for(10ms);
      EXPECT_FALSE(work.done());
      const auto before = Clock::now();
      world.barrier();
      EXPECT_GE(end_of(work), before);
    }
    EXPECT_EQ(x[3].item<float>(), 2);
  });
}

TEST(LinkModel, ResultsAreThoseOfTheBackend) {
  ThreadWorld::run(3, [](Communicator& world) {
    world.set_deadline(60s);
    const auto group = world.split(0, world.rank(), "dp");
    LinkModel link({.latency_s = 1e-5, .bytes_per_s = 1e9});
    group->observe(link);
    suite::all_reduce(*group);
    suite::several_in_flight(*group);
  });
}

TEST(LinkModel, TheDeadlineHolds) {
  const auto world = make_null_communicator({.dp = 2});
  LinkModel link({.latency_s = 100, .bytes_per_s = 1e9});
  world->observe(link);
  world->set_deadline(50ms);
  world->set_phase("backward");
  try {
    world->barrier();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const CommunicationError& error) {
    EXPECT_STREQ(error.what(),
                 "rank 0 of 2 (axis world), barrier #1, phase backward: not "
                 "finished after 0.05 s on the model of a slow link");
  }
}

TEST(LinkModel, IsReadFromText) {
  const Bandwidth link = parse_link("50,1.25");
  EXPECT_DOUBLE_EQ(link.latency_s, 50e-6);
  EXPECT_DOUBLE_EQ(link.bytes_per_s, 1.25e9);
  for (const std::string text : {"50",
                                 "50,",
                                 ",1",
                                 "50,0",
                                 "-1,1",
                                 "50,-1",
                                 "50;1",
                                 "50,1,2",
                                 "50,1 ",
                                 "x,1",
                                 "nan,1",
                                 "1,inf"}) {
    EXPECT_THROW(parse_link(text), InputError) << text;
  }
}

}  // namespace
}  // namespace mumoe::dist
