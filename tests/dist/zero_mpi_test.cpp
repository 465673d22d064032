// Sharded buckets and gradients in bf16 on the wire, over MPI.
#include "tests/dist/wire_suite.h"
#include "tests/dist/zero_suite.h"
#include "tests/support/mpi_main.h"

namespace mumoe {
namespace {

const auto kName = [](const auto& info) { return info.param.name; };

class Zero : public ::testing::TestWithParam<testing::zero::NamedCheck> {};
TEST_P(Zero, OnMpi) {
  GetParam().check(testing::mpi_world());
}
INSTANTIATE_TEST_SUITE_P(Buckets,
                         Zero,
                         ::testing::ValuesIn(testing::zero::kChecks),
                         kName);

class Wire : public ::testing::TestWithParam<testing::wire::NamedCheck> {};
TEST_P(Wire, OnMpi) {
  GetParam().check(testing::mpi_world());
}
INSTANTIATE_TEST_SUITE_P(Buckets,
                         Wire,
                         ::testing::ValuesIn(testing::wire::kChecks),
                         kName);

}  // namespace
}  // namespace mumoe
