// The runtime of a program that was built without MPI, in this one in place of
// the real one.

#include <gtest/gtest.h>

#include <cstdlib>

#include "dist/mpi/mpi_runtime.h"
#include "tests/support/environment.h"
#include "tests/support/errors.h"

namespace mumoe::dist {
namespace {

using testing::SetVariable;

TEST(WithoutMpi, ARankOfAJobIsRefused) {
  testing::expect_input_error(
      [] { MpiRuntime(); },
      {"built without MPI", "a launcher has started it as one of a job"});
}

TEST(WithoutMpi, AJobIsSeenByWhatItsLauncherSets) {
  constexpr const char* kNames[] = {"OMPI_COMM_WORLD_SIZE",
                                    "PMI_RANK",
                                    "PMI_SIZE",
                                    "PMIX_RANK",
                                    "MV2_COMM_WORLD_SIZE"};
  for (const char* name : kNames) ::unsetenv(name);
  EXPECT_FALSE(MpiRuntime::launched_by_mpi());
  for (const char* name : kNames) {
    const SetVariable rank(name, "0");
    EXPECT_TRUE(MpiRuntime::launched_by_mpi()) << name;
  }
  EXPECT_FALSE(MpiRuntime::launched_by_mpi());
}

}  // namespace
}  // namespace mumoe::dist
