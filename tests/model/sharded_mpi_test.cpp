// Models cut over the ranks of mpirun: the whole model's gradients.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/support/sharded_model.h"

namespace mumoe {
namespace {

TEST(ShardedOverMpi, GivesTheWholeModelsGradients) {
  for (const auto& model : testing::sharded_cases()) {
    for (const Plan plan : {Plan::sequence, Plan::bottleneck, Plan::rank}) {
      SCOPED_TRACE(fmt::format("{}, {}", model.name, to_string(plan)));
      testing::expect_same_model(model.config,
                                 plan,
                                 testing::mpi_world(),
                                 at::kDouble,
                                 1e-10);
    }
  }
}

}  // namespace
}  // namespace mumoe
