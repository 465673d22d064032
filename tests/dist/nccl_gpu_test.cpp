// Needs a GPU for each rank (label gpu): the suite over the real NCCL.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "dist/nccl/nccl_communicator.h"
#include "dist/process_mesh.h"
#include "tests/dist/communicator_suite.h"
#include "tests/dist/staged_communicator.h"
#include "tests/support/mpi_main.h"

namespace mumoe::dist {
namespace {

using namespace std::chrono_literals;

int device() {
  return device_place(testing::mpi_runtime().local_rank()).device;
}

NcclWorld make_world() {
  return make_nccl_communicator(testing::mpi_world(), device());
}

at::Device gpu() {
  return {at::kCUDA, static_cast<at::DeviceIndex>(device())};
}

class Suite : public ::testing::TestWithParam<suite::NamedCheck> {};

TEST_P(Suite, OnGpus) {
  StagedCommunicator staged(make_world().communicator, gpu());
  GetParam().check(staged);
}

INSTANTIATE_TEST_SUITE_P(Communicator,
                         Suite,
                         ::testing::ValuesIn(suite::kChecks),
                         [](const auto& info) { return info.param.name; });

TEST(NcclGpu, AMeshOfItsGroups) {
  const int size = testing::mpi_world().size();
  const auto nccl = make_world();
  ProcessMesh mesh(testing::mpi_world(), 1, size, nccl.communicator.get());
  const at::Tensor one =
      at::ones({1 << 20}, at::TensorOptions(at::kBFloat16).device(gpu()));
  for (int i = 0; i < 100; ++i) {
    mesh.tp().all_reduce(one, ReduceOp::avg);
    mesh.dp_tp().all_reduce(one, ReduceOp::max);
    mesh.dp().all_reduce(one);
  }
  EXPECT_EQ(one[12345].item<float>(), 1);
}

// The host is free while operations wait for the stream before them.
TEST(NcclGpu, WaitOrdersStreamsWithoutBlocking) {
  const auto nccl = make_world();
  const at::Tensor a =
      at::full({2048, 2048}, 1.0 / 2048, at::TensorOptions(gpu()));
  at::Tensor x = at::ones({2048, 2048}, at::TensorOptions(gpu()));
  for (int i = 0; i < 200; ++i) {
    x = at::mm(a, x);  // all ones again
    nccl.communicator->all_reduce(x, ReduceOp::avg);
  }
  EXPECT_NEAR(x.sum().item<double>(), 2048.0 * 2048, 2048.0 * 2048 * 1e-3);
}

TEST(NcclGpu, AbortEndsAnOperationThatOthersNeverJoin) {
  auto& world = testing::mpi_world();
  if (world.size() == 1) return;
  const auto nccl = make_world();
  // The first operation opens connections, for which it waits for all ranks.
  nccl.communicator->barrier();
  Work work;
  if (world.rank() == 0) {
    work = nccl.communicator->all_reduce_async(
        at::ones({100}, at::TensorOptions(gpu())));
  }
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(work.done(), world.rank() != 0);
  EXPECT_TRUE(nccl.abort("the test ends", 30s));
  if (world.rank() == 0) {
    EXPECT_THROW(work.wait(), CommunicationError);
  }
  world.barrier();
}

}  // namespace
}  // namespace mumoe::dist
