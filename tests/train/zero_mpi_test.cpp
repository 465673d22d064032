// Training with sharded optimizer state, over MPI.
#include "tests/support/mpi_main.h"
#include "tests/train/zero_suite.h"

namespace mumoe {
namespace {

using testing::zero_training::kChecks;
using testing::zero_training::NamedCheck;

class ZeroTraining : public ::testing::TestWithParam<NamedCheck> {};

TEST_P(ZeroTraining, OnMpi) {
  GetParam().check(testing::mpi_world());
}

INSTANTIATE_TEST_SUITE_P(Layouts,
                         ZeroTraining,
                         ::testing::ValuesIn(kChecks),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace mumoe
