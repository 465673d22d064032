#include <gtest/gtest.h>

#include "tests/dist/fingerprint_suite.h"
#include "tests/support/mpi_main.h"

namespace mumoe::dist {
namespace {

TEST(FingerprintCheckOverMpi, NamesTheRankThatDiffersAndItsCall) {
  suite::differences(testing::mpi_world());
}

TEST(FingerprintCheckOverMpi, LeavesAnAgreeingRunAlone) {
  suite::agreement(testing::mpi_world());
}

}  // namespace
}  // namespace mumoe::dist
