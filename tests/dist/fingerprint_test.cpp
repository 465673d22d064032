#include "dist/watch/fingerprint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/dist/fingerprint_suite.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

TEST(FingerprintCheck, NamesTheRankThatDiffersAndItsCall) {
  for (const int ranks : {3, 4}) ThreadWorld::run(ranks, suite::differences);
}

TEST(FingerprintCheck, LeavesAnAgreeingRunAlone) {
  for (const int ranks : {1, 2, 4}) ThreadWorld::run(ranks, suite::agreement);
}

TEST(FingerprintCheck, NamesRanksOfTheWorld) {
  std::vector<std::string> texts(6);
  ThreadWorld::run(6, [&](Communicator& world) {
    ProcessMesh mesh(world, 3, 2);
    FingerprintCheck check(mesh);
    mesh.observe(check);
    // The last of each dp group; the groups do not wait for each other.
    const auto count = mesh.dp().rank() == 2 ? 5 : 7;
    texts[world.rank()] =
        suite::error_of([&] { mesh.dp().all_reduce(at::ones({count})); });
  });
  for (int rank = 0; rank < 6; ++rank) {
    EXPECT_EQ(texts[rank],
              fmt::format("axis dp, ranks differ: rank {} called all_reduce #1 "
                          "of 5 fp32 (sum) in phase start, the others "
                          "all_reduce #1 of 7 fp32 (sum) in phase start",
                          4 + rank % 2));
  }
}

TEST(FingerprintCheck, OfTwoRanksBothAreNamed) {
  ThreadWorld::run(2, [](Communicator& world) {
    ProcessMesh mesh(world, 1, 2);
    FingerprintCheck check(mesh);
    mesh.observe(check);
    EXPECT_EQ(suite::error_of(
                  [&] { mesh.tp().all_reduce(at::ones({2 + world.rank()})); }),
              "axis tp, ranks differ: rank 1 called all_reduce #1 of 3 fp32 "
              "(sum) in phase start, rank 0 called all_reduce #1 of 2 fp32 "
              "(sum) in phase start");
  });
}

TEST(FingerprintCheck, ARankThatCallsNothingIsFoundByTheDeadline) {
  ThreadWorld::run(2, [](Communicator& world) {
    ProcessMesh mesh(world, 2, 1);
    FingerprintCheck check(mesh);
    mesh.observe(check);
    mesh.set_phase("backward");
    if (world.rank() == 0) {
      mesh.dp().set_deadline(100ms);
      const auto text =
          suite::error_of([&] { mesh.dp().all_reduce(at::ones({9})); });
      EXPECT_NE(text.find("(axis dp check), all_gather #2, phase backward: not "
                          "finished after 0.1 s"),
                std::string::npos)
          << text;
      EXPECT_NE(text.find("; before all_reduce #1 of 9 fp32 (sum) in phase "
                          "backward on axis dp"),
                std::string::npos)
          << text;
    }
    world.barrier();
  });
}

}  // namespace
}  // namespace mumoe::dist
