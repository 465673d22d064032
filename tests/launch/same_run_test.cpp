#include "launch/same_run.h"

#include <gtest/gtest.h>

#include "dist/host.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;
using dist::ThreadWorld;

TEST(SameRun, RanksThatAgreePass) {
  ThreadWorld::run(3, [](Communicator& world) {
    EXPECT_NO_THROW(require_same_run(world, {}));
    EXPECT_NO_THROW(require_same_run(world, {{"a", ""}, {"b = c", "d e"}}));
  });
}

TEST(SameRun, TheFirstRankThatDiffersIsNamedOnAll) {
  const std::string host = "(host " + dist::this_host().name + ")";
  ThreadWorld::run(4, [&](Communicator& world) {
    Facts facts = {{"model.width", "16"}, {"train.seed", "0"}};
    if (world.rank() >= 2) {
      facts["train.seed"] = std::to_string(world.rank());
    }
    testing::expect_input_error(
        [&] { require_same_run(world, facts); },
        {"train.seed = 2 on rank 2 " + host + ", 0 on rank 0 " + host,
         "expected the same on all"});
  });
}

TEST(SameRun, WhatARankLacksOrHasMoreIsNamed) {
  for (const int with : {0, 1}) {
    ThreadWorld::run(2, [&](Communicator& world) {
      Facts facts = {{"hash of train.bin", "1234"}};
      if (world.rank() == with) facts["checkpoint"] = "step_7";
      testing::expect_input_error(
          [&] { require_same_run(world, facts); },
          {with == 1 ? "checkpoint = step_7 on rank 1"
                     : "checkpoint = none on rank 1",
           with == 1 ? "none on rank 0" : "step_7 on rank 0"});
    });
  }
}

TEST(SameRun, ValuesMayHoldAnyText) {
  ThreadWorld::run(2, [&](Communicator& world) {
    Facts facts = {{"data.source", "a\nb\x1f!\n"}, {"train.out", "\n"}};
    EXPECT_NO_THROW(require_same_run(world, facts));
    if (world.rank() == 1) facts["data.source"] += "c";
    testing::expect_input_error([&] { require_same_run(world, facts); },
                                {"data.source = a\\nb\\x1f!\\nc on rank 1",
                                 "a\\nb\\x1f!\\n on rank 0"});
  });
}

}  // namespace
}  // namespace mumoe::launch
