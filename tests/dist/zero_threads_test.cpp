// Sharded buckets and gradients in bf16 on the wire, over threads.
#include <fmt/format.h>
#include <atomic>

#include "tests/dist/wire_suite.h"
#include "tests/dist/zero_suite.h"
#include "tests/support/thread_communicator.h"

namespace mumoe {
namespace {

using dist::Communicator;
using dist::ThreadWorld;

template <class NamedCheck>
class OnThreads : public ::testing::TestWithParam<std::tuple<int, NamedCheck>> {
 protected:
  void run() {
    const auto& [ranks, check] = this->GetParam();
    ThreadWorld::run(ranks, check.check);
  }
};

const auto kName = [](const auto& info) {
  return fmt::format("{}{}",
                     std::get<1>(info.param).name,
                     std::get<0>(info.param));
};

class Zero : public OnThreads<testing::zero::NamedCheck> {};
TEST_P(Zero, OnThreads) {
  run();
}
INSTANTIATE_TEST_SUITE_P(
    Buckets,
    Zero,
    ::testing::Combine(::testing::Values(1, 2, 3, 4),
                       ::testing::ValuesIn(testing::zero::kChecks)),
    kName);

class Wire : public OnThreads<testing::wire::NamedCheck> {};
TEST_P(Wire, OnThreads) {
  run();
}
INSTANTIATE_TEST_SUITE_P(
    Buckets,
    Wire,
    ::testing::Combine(::testing::Values(1, 2, 3, 4),
                       ::testing::ValuesIn(testing::wire::kChecks)),
    kName);

// Rank 1 fails while rank 0 waits in a hook of its backward pass: the error
// comes out of backward as what it is.
TEST(GradientReducer, AnErrorDuringBackwardKeepsItsType) {
  std::atomic<int> caught = 0;
  EXPECT_THROW(ThreadWorld::run(2,
                                [&](Communicator& world) {
                                  testing::BucketFixture f(
                                      world,
                                      {.dp = 2},
                                      at::kDouble,
                                      {.wire = dist::Wire::bf16});
                                  if (world.rank() == 1) {
                                    fail<InputError>("no such file");
                                  }
                                  try {
                                    f.backward(0, 2, 1);
                                  } catch (const CommunicationError&) {
                                    ++caught;
                                    throw;
                                  }
                                }),
               InputError);
  EXPECT_EQ(caught, 1);
}

}  // namespace
}  // namespace mumoe
