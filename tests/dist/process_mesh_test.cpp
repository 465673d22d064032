#include "dist/process_mesh.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "dist/self_communicator.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

void check_grid(Communicator& world, int dp, int tp) {
  const ProcessMesh mesh(world, dp, tp);
  ASSERT_EQ(mesh.dp().size(), dp);
  ASSERT_EQ(mesh.tp().size(), tp);
  // World rank = dp · |tp| + tp: neighbours share a tp group.
  EXPECT_EQ(world.rank(), mesh.dp().rank() * tp + mesh.tp().rank());
  EXPECT_EQ(mesh.dp().axis(), "dp");
  EXPECT_EQ(mesh.tp().axis(), "tp");
  EXPECT_EQ(&mesh.control(), &world);
  const auto in_dp = at::full({1}, world.rank(), at::kLong);
  const auto in_tp = in_dp.clone();
  const Work first = mesh.dp().all_reduce_async(in_dp);
  mesh.tp().all_reduce(in_tp);
  first.wait();
  // Sums of arithmetic series: step tp from tp.rank(), step 1 from dp · |tp|.
  EXPECT_EQ(in_dp.item<std::int64_t>(),
            dp * mesh.tp().rank() + tp * dp * (dp - 1) / 2);
  EXPECT_EQ(in_tp.item<std::int64_t>(),
            tp * tp * mesh.dp().rank() + tp * (tp - 1) / 2);
}

TEST(ProcessMesh, Grids) {
  for (const auto& [dp, tp] : {std::pair{1, 1},
                               {2, 1},
                               {1, 2},
                               {2, 2},
                               {4, 1},
                               {1, 4},
                               {3, 1},
                               {3, 2}}) {
    ThreadWorld::run(dp * tp, [dp = dp, tp = tp](Communicator& world) {
      world.set_deadline(30s);
      check_grid(world, dp, tp);
    });
  }
}

TEST(ProcessMesh, AutomaticDpTakesWhatTpLeaves) {
  ThreadWorld::run(4, [](Communicator& world) {
    const ProcessMesh mesh(world, 0, 2);
    EXPECT_EQ(mesh.dp().size(), 2);
    EXPECT_EQ(mesh.describe(),
              fmt::format("dp {}/2 tp {}/2 world {}/4",
                          world.rank() / 2,
                          world.rank() % 2,
                          world.rank()));
  });
}

TEST(ProcessMesh, DeadlineAndPhaseReachAllGroups) {
  ThreadWorld::run(2, [](Communicator& world) {
    world.set_deadline(7s);
    ProcessMesh mesh(world, 2, 1);
    EXPECT_EQ(mesh.dp().deadline(), 7s);
    mesh.set_deadline(5s);
    mesh.set_phase("forward");
    for (const Communicator* group :
         {&mesh.control(), &mesh.dp(), &mesh.tp()}) {
      EXPECT_EQ(group->deadline(), 5s);
      EXPECT_EQ(group->phase(), "forward");
    }
  });
}

TEST(ProcessMesh, ImpossibleGridsAreBadInput) {
  ThreadWorld::run(4, [](Communicator& world) {
    for (const auto& [dp, tp] :
         {std::pair{3, 1}, {2, 1}, {0, 3}, {0, 0}, {-1, 1}, {1, -2}, {4, 2}}) {
      EXPECT_THROW(ProcessMesh(world, dp, tp), InputError) << dp << "x" << tp;
    }
    try {
      ProcessMesh(world, 2, 4);
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("mpirun -n 8"),
                std::string::npos)
          << error.what();
    }
  });
}

TEST(ProcessMesh, OneRankNeedsNoLauncher) {
  const auto self = make_self_communicator(at::kCPU);
  const ProcessMesh mesh(*self, 0, 1);
  EXPECT_EQ(mesh.describe(), "dp 0/1 tp 0/1 world 0/1");
}

}  // namespace
}  // namespace mumoe::dist
