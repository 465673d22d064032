// Training with sharded optimizer state, over threads.
#include "tests/support/thread_communicator.h"

#include <fmt/format.h>
#include "tests/train/zero_suite.h"

namespace mumoe {
namespace {

using testing::zero_training::kChecks;
using testing::zero_training::NamedCheck;

class ZeroTraining
    : public ::testing::TestWithParam<std::tuple<int, NamedCheck>> {};

TEST_P(ZeroTraining, OnThreads) {
  const auto& [ranks, check] = GetParam();
  dist::ThreadWorld::run(ranks, check.check);
}

INSTANTIATE_TEST_SUITE_P(Layouts,
                         ZeroTraining,
                         ::testing::Combine(::testing::Values(1, 2, 4),
                                            ::testing::ValuesIn(kChecks)),
                         [](const auto& info) {
                           return fmt::format("{}{}",
                                              std::get<1>(info.param).name,
                                              std::get<0>(info.param));
                         });

}  // namespace
}  // namespace mumoe
