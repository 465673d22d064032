// The suite over MPI: every rank runs all tests in the same order, and all
// fail when one does.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdio>
#include <optional>

#include "tests/dist/communicator_suite.h"
#include "tests/support/mpi_main.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Suite : public ::testing::TestWithParam<suite::NamedCheck> {};

TEST_P(Suite, OnMpi) {
  GetParam().check(testing::mpi_world());
}

TEST_P(Suite, OnMpiInChunks) {
  const auto world = testing::mpi_runtime().duplicate_world("chunked", 10'007);
  GetParam().check(*world);
}

INSTANTIATE_TEST_SUITE_P(Communicator,
                         Suite,
                         ::testing::ValuesIn(suite::kChecks),
                         [](const auto& info) { return info.param.name; });

TEST(Mpi, VerySmallChunks) {
  for (const std::int64_t max_count : {1, 2, 3, 5, 64}) {
    const auto world =
        testing::mpi_runtime().duplicate_world("chunked", max_count);
    const int n = world->size();
    const auto sum = suite::values(23, world->rank()).to(at::kFloat);
    world->all_reduce(sum);
    suite::expect_equal(sum,
                        suite::reduced(23, n, ReduceOp::sum, at::kFloat),
                        "all_reduce");
    const auto whole = at::full({23 * n}, -9, at::kLong);
    world->all_gather(suite::values(23, world->rank()), whole);
    for (int r = 0; r < n; ++r) {
      suite::expect_equal(whole.narrow(0, 23 * r, 23),
                          suite::values(23, r),
                          "all_gather");
    }
  }
}

TEST(Mpi, LocalRanksAreTheRanksOfThisHost) {
  EXPECT_EQ(testing::mpi_runtime().local_rank(), testing::mpi_world().rank());
  EXPECT_EQ(testing::mpi_runtime().local_size(), testing::mpi_world().size());
}

TEST(Mpi, IsStartedOncePerProcess) {
  EXPECT_THROW(MpiRuntime(), InternalError);
}

double seconds_of_thread() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

double seconds_of_process() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

// 32 MB move while this thread computes and makes no call that could help.
TEST(Mpi, OperationsAdvanceWhileTheRankComputes) {
  auto& world = testing::mpi_world();
  const auto tensor = at::ones({8 << 20}, at::kFloat);
  world.barrier();
  const Work work = world.all_reduce_async(tensor);
  const auto start = Clock::now();
  volatile double sink = 0;
  while (!work.done() && Clock::now() - start < 60s) {
    for (int i = 1; i < 100'000; ++i) sink = sink + std::sqrt(double(i));
  }
  EXPECT_TRUE(work.done());
  work.wait();
  EXPECT_EQ(tensor[(8 << 20) - 1].item<float>(), world.size());
}

// The MPI thread leaves the core to the computation while it waits.
TEST(Mpi, WaitingCostsLittle) {
  auto& world = testing::mpi_world();
  if (world.size() == 1) return;
  const auto tensor = at::ones({16}, at::kFloat);
  world.barrier();
  Work work;
  if (world.rank() != 0) std::this_thread::sleep_for(2s);
  const double before = seconds_of_process();
  if (world.rank() == 0) {
    work = world.all_reduce_async(tensor);
    std::this_thread::sleep_for(1s);
    EXPECT_FALSE(work.done());
    const double used = seconds_of_process() - before;
    RecordProperty("used_ms", static_cast<int>(1e3 * used));
    EXPECT_LT(used, 0.3);
  } else {
    work = world.all_reduce_async(tensor);
  }
  work.wait();

  // Nothing under way: nothing is used.
  const double idle = seconds_of_process() - seconds_of_thread();
  std::this_thread::sleep_for(500ms);
  EXPECT_LT(seconds_of_process() - seconds_of_thread() - idle, 0.02);
  world.barrier();
}

TEST(Mpi, ADeadlineNamesOperationAndPhaseAndTheOperationGoesOn) {
  auto& world = testing::mpi_world();
  if (world.size() == 1) return;
  const auto group = world.split(0, world.rank(), "late");
  group->set_phase("backward");
  const auto tensor = at::ones({1}, at::kFloat);
  if (world.rank() != 0) std::this_thread::sleep_for(500ms);
  group->set_deadline(world.rank() == 0 ? 100ms : 60s);
  const Work work = group->all_reduce_async(tensor);
  if (world.rank() == 0) {
    try {
      work.wait();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const CommunicationError& error) {
      const std::string text = error.what();
      EXPECT_NE(
          text.find(fmt::format("rank 0 of {} (axis late), all_reduce #1, "
                                "phase backward: not finished after 0.1 s",
                                world.size())),
          std::string::npos)
          << text;
    }
  }
  while (!work.done()) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(tensor.item<float>(), world.size());
}

TEST(Mpi, TwoThreadsWithAGroupEach) {
  const auto second = testing::mpi_runtime().duplicate_world("second");
  second->set_deadline(60s);
  const auto sums = [](Communicator& group, int factor) {
    for (int i = 0; i < 200; ++i) {
      const auto tensor = at::full({64}, i * factor, at::kLong);
      group.all_reduce(tensor);
      ASSERT_EQ(tensor[63].item<std::int64_t>(), i * factor * group.size());
    }
  };
  std::thread other([&] { sums(*second, 3); });
  sums(testing::mpi_world(), 5);
  other.join();
}

}  // namespace
}  // namespace mumoe::dist
