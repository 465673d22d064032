// The promise of every layout (tests/train/layouts.h), over simulated GPUs and
// the fake NCCL, whose streams lag: the run of one rank on the CPU.

#include <gtest/gtest.h>

#include "dist/nccl/nccl_communicator.h"
#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/fake_nccl.h"
#include "tests/support/mpi_main.h"
#include "tests/train/layouts.h"

namespace mumoe {
namespace {

using testing::mpi_world;
using testing::RunResult;
using testing::SmallRun;

class SimulatedLayouts : public ::testing::Test {
 protected:
  SimulatedLayouts()
      : gpus_(dist::make_nccl_communicator(mpi_world(), mpi_world().rank())),
        guard_(gpu()) {
    lag(/*seed=*/1);
  }
  ~SimulatedLayouts() override {
    EXPECT_EQ(fakes::fake_nccl().misuse(), std::vector<std::string>());
    mpi_world().barrier();
  }

  static at::Device gpu() {
    return {at::kCUDA, static_cast<at::DeviceIndex>(mpi_world().rank())};
  }
  static void lag(std::uint64_t seed) {
    fakes::stream_lag().microseconds = 300;
    fakes::stream_lag().one_in = 64;
    fakes::stream_lag().seed = seed;
  }
  SmallRun run() const {
    SmallRun run;
    run.device = gpu();
    run.data = gpus_.communicator.get();
    run.row_multiple = 8;
    run.align = 64;
    return run;
  }

  dist::NcclWorld gpus_;
  c10::DeviceGuard guard_;
};

TEST_F(SimulatedLayouts, GiveTheRunOfOneRankInFp64) {
  for (const int zero : {0, 1}) {
    testing::expect_same_at_all_layouts(mpi_world(), run(), zero, 1);
  }
}

TEST_F(SimulatedLayouts, GiveTheRunOfOneRankInMicroBatches) {
  testing::expect_same_at_all_layouts(mpi_world(), run(), 1, 4);
}

TEST_F(SimulatedLayouts, GiveTheRunOfOneRankThatFormsMixturesAgain) {
  SmallRun again = run();
  again.recompute = true;
  testing::expect_same_at_all_layouts(mpi_world(), again, 1, 2);
}

// Gradients that travel as bf16 are rounded as on the CPU.
TEST_F(SimulatedLayouts, RoundOnTheWireAsOnTheCpu) {
  for (const int zero : {0, 1}) {
    SmallRun small = run();
    small.wire = dist::Wire::bf16;
    small.zero = zero;
    small.steps = 2;
    const RunResult found = testing::train_small(mpi_world(), small);
    small.device = at::kCPU;
    small.data = nullptr;
    small.row_multiple = small.align = 1;
    const RunResult cpu = testing::train_small(mpi_world(), small);
    // Rounding ties, which the last bits of a sum decide, may fall otherwise.
    EXPECT_LT(testing::relative_error(found.weights, cpu.weights), 1e-10);
  }
}

// What the program does not order must not show.
TEST_F(SimulatedLayouts, GiveTheSameBitsWheneverStreamsRun) {
  for (const auto wire : {dist::Wire::fp32, dist::Wire::bf16}) {
    for (const int tp : {1, 2}) {
      if (mpi_world().size() % tp != 0) continue;
      SmallRun small = run();
      small.dtype = at::kBFloat16;
      small.wire = wire;
      small.tp = tp;
      small.zero = 1;
      small.micro_batch = 2;
      small.steps = 2;
      std::optional<RunResult> first;
      for (const std::uint64_t seed : {1, 2, 3}) {
        lag(seed);
        const RunResult found = testing::train_small(mpi_world(), small);
        if (!first) first = found;
        EXPECT_TRUE(at::equal(found.weights, first->weights));
        EXPECT_EQ(found.losses, first->losses);
      }
    }
  }
}

// The last: ranks may have gone on alone.
TEST_F(SimulatedLayouts, ShowAWaitThatIsLeftOut) {
  SmallRun small = run();
  small.steps = 2;
  const RunResult expected = testing::train_small(mpi_world(), small);
  fakes::fake_cuda().forgets_waits = true;
  fakes::stream_lag().one_in = 4;
  bool seen = false;
  try {
    const RunResult found = testing::train_small(mpi_world(), small);
    seen = !(testing::relative_error(found.weights, expected.weights) < 1e-10);
  } catch (const Error&) {
    seen = true;
  }
  fakes::fake_cuda().forgets_waits = false;
  // One rank has nobody to wait for.
  EXPECT_EQ(seen, mpi_world().size() > 1);
}

}  // namespace
}  // namespace mumoe
