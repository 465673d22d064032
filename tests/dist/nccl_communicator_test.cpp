// The backend over the fakes, with CPU tensors in place of a GPU's: the whole
// suite, and what the adapter adds to the layer below.

#include "dist/nccl/nccl_communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>

#include "dist/nccl/nccl_work.h"
#include "dist/process_mesh.h"
#include "dist/watch/trace.h"
#include "tests/dist/communicator_suite.h"
#include "tests/dist/nccl_rig.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::dist {
namespace {

NcclWorld make_world() {
  auto& control = testing::mpi_world();
  return make_nccl_communicator(control, control.rank());
}

class Suite : public OverFakes,
              public ::testing::WithParamInterface<suite::NamedCheck> {};

TEST_P(Suite, OnNccl) {
  GetParam().check(*make_world().communicator);
}

TEST_P(Suite, OnNcclStartedLate) {
  const auto world = make_world();
  fakes::fake_nccl().polls = 2;
  GetParam().check(*world.communicator);
}

INSTANTIATE_TEST_SUITE_P(Communicator,
                         Suite,
                         ::testing::ValuesIn(suite::kChecks),
                         [](const auto& info) { return info.param.name; });

class NcclAdapter : public OverFakes {};

TEST_F(NcclAdapter, AMeshOfItsGroups) {
  const int tp = size() % 2 == 0 ? 2 : 1;
  const auto nccl = make_world();
  ProcessMesh mesh(testing::mpi_world(), 0, tp, nccl.communicator.get());
  const at::Tensor one = at::ones({5}, at::kBFloat16);
  mesh.tp().all_reduce(one);
  EXPECT_EQ(one[4].item<float>(), tp);
  mesh.dp().all_reduce(one);
  EXPECT_EQ(one[4].item<float>(), size());
  mesh.dp_tp().all_reduce(one, ReduceOp::avg);
  EXPECT_EQ(one[4].item<float>(), size());
}

TEST_F(NcclAdapter, OneRankNeedsNoNccl) {
  const auto nccl = make_world();
  const auto alone = nccl.communicator->split(rank(), 0, "alone");
  const at::Tensor one = at::ones({5}, at::kFloat);
  alone->all_reduce(one);
  alone->barrier();
  const auto again = alone->split(3, 0, "again");
  EXPECT_EQ(again->size(), 1);
  EXPECT_EQ(calls("ncclCommInitRankConfig"), size() > 1 ? 1 : 0);
  EXPECT_EQ(calls("ncclAllReduce"), 0);
}

// Starting, and waiting, leave the host free; the result comes with the stream.
TEST_F(NcclAdapter, OperationsDoNotBlock) {
  if (size() == 1) return;
  const auto nccl = make_world();
  fakes::fake_nccl().reset();
  fakes::fake_nccl().stuck_operation = 1;
  const at::Tensor data = at::ones({10}, at::kFloat);
  const Work work = nccl.communicator->all_reduce_async(data);
  EXPECT_FALSE(work.done());
  EXPECT_TRUE(nccl.abort("the test ends", 10s));
  while (!work.done()) std::this_thread::sleep_for(1ms);
  expect_communication_error(
      [&] { work.wait(); },
      {fmt::format("rank {} of {} (axis world), all_reduce #1", rank(), size()),
       "were aborted: the test ends"});
}

// After what the current stream held at the call; and what the stream gets
// after a wait comes after the operation.
TEST_F(NcclAdapter, OperationsAreOrderedWithTheCurrentStream) {
  if (size() == 1) return;
  const auto nccl = make_world();
  const CudaStream stream(rank(), "test");
  std::promise<void> gate;
  fakes::push(stream.get(),
              [open = gate.get_future().share()] { open.wait(); });
  const at::Tensor data = at::zeros({10}, at::kFloat);
  fakes::push(stream.get(), [data] { at::Tensor(data).fill_(1); });
  fakes::current_stream() = stream.get();
  const Work work = nccl.communicator->all_reduce_async(data);
  work.wait();
  float found = 0;
  fakes::push(stream.get(), [&] { found = data[9].item<float>(); });
  // Another stream waits too, for an operation on other tensors: that on `data`
  // would not be ordered with what `stream` reads.
  fakes::current_stream() = fakes::kHostStream;
  const at::Tensor other = at::ones({10}, at::kFloat);
  const Work second = nccl.communicator->all_reduce_async(other);
  EXPECT_FALSE(work.done());
  gate.set_value();
  second.wait();
  fakes::synchronize(stream.get());
  EXPECT_EQ(found, size());
  EXPECT_EQ(other[9].item<float>(), size());
}

/// What a trace says of a sum of gradients whose operands are ready on rank 0
/// at once and on the others after 60 ms. Then rank 0's stream has `work` left.
GradientOverlap trace_of(Communicator& dp, std::chrono::milliseconds work) {
  const testing::ScratchFolder folder;
  auto& world = testing::mpi_world();
  Trace trace(folder.path() / "trace.json", world);
  dp.observe(trace);
  const CudaStream stream(world.rank(), "test");
  fakes::current_stream() = stream.get();
  const auto compute = [&](std::chrono::milliseconds time) {
    fakes::push(stream.get(), [time] { std::this_thread::sleep_for(time); });
  };
  trace.phase("load");
  trace.phase("backward");
  if (world.rank() > 0) compute(60ms);
  const at::Tensor data = at::ones({1000}, at::kFloat);
  const Work sum = dp.all_reduce_async(data);
  if (world.rank() == 0) compute(work);
  sum.wait();  // nothing blocks the host
  trace.phase("check");
  fakes::synchronize(stream.get());
  fakes::current_stream() = fakes::kHostStream;
  dp.unobserve(trace);
  trace.finish();
  world.barrier();
  return trace.gradient_overlap();
}

// The device waits, not the host.
TEST_F(NcclAdapter, ATraceTellsWhatTheDeviceWaitsFor) {
  if (size() == 1) return;
  const auto nccl = make_nccl_communicator(testing::mpi_world(), rank(), "dp");
  const GradientOverlap waits = trace_of(*nccl.communicator, 0ms);
  const GradientOverlap hides = trace_of(*nccl.communicator, 200ms);
  if (rank() != 0) return;
  for (const GradientOverlap& found : {waits, hides}) {
    EXPECT_EQ(found.steps, 1);
    EXPECT_GT(found.busy_s, 0.03);
    EXPECT_LT(found.busy_s, 10);
  }
  EXPECT_GT(waits.exposed(), 0.5);
  EXPECT_LT(waits.exposed(), 1.2);
  EXPECT_LT(hides.exposed(), 0.2);
}

TEST_F(NcclAdapter, WaitingFindsAnErrorThatCameLater) {
  if (size() == 1) return;
  const auto nccl = make_world();
  nccl.communicator->set_phase("backward");
  fakes::fake_nccl().reset();
  fakes::fake_nccl().async_operation = 1;
  const Work work = nccl.communicator->all_reduce_async(at::ones({3}));
  expect_communication_error([&] { work.wait(); },
                             {"(axis world), all_reduce #1, phase backward: "
                              "asynchronous error: remote error"});
  EXPECT_NE(nccl.async_error().find("axis world: remote error"),
            std::string::npos);
  while (!work.done()) std::this_thread::sleep_for(1ms);
  testing::mpi_world().barrier();
  EXPECT_TRUE(nccl.abort("the test ends", 10s));
}

TEST_F(NcclAdapter, ABarrierHasADeadline) {
  if (size() == 1) return;
  const auto nccl = make_world();
  fakes::fake_nccl().reset();
  fakes::fake_nccl().stuck_operation = 1;
  nccl.communicator->set_deadline(200ms);
  expect_communication_error([&] { nccl.communicator->barrier(); },
                             {"barrier #1", "not finished after 0.2 s"});
  expect_communication_error(
      [&] { nccl.communicator->split(0, 0, "tp"); },
      {"(axis world), split for axis tp", "not finished after 0.2 s"});
  EXPECT_TRUE(nccl.abort("the test ends", 10s));
}

TEST_F(NcclAdapter, TheFunctionsOutliveTheCommunicator) {
  auto nccl = make_world();
  nccl.communicator.reset();
  EXPECT_EQ(nccl.async_error(), "");
  EXPECT_TRUE(nccl.abort("late", 10s));
}

TEST_F(NcclAdapter, RanksWithoutAGpuAreRefused) {
  fakes::fake_cuda().addresses.resize(size() - 1);
  EXPECT_EQ(device_place(0).visible, size() - 1);
  testing::expect_input_error(
      [] { make_world(); },
      {fmt::format("rank {} on host ", size() - 1),
       fmt::format("has no GPU {}: {} visible", size() - 1, size() - 1)});
  EXPECT_EQ(fakes::fake_nccl().log(), std::vector<std::string>());
}

// Where the launcher gives each rank a GPU of its own, all call it number 0.
TEST_F(NcclAdapter, TheOnlyGpuThatARankSeesIsItsOwn) {
  auto& addresses = fakes::fake_cuda().addresses;
  addresses = {addresses[rank()]};
  const DevicePlace mine = device_place(rank());
  EXPECT_EQ(mine.device, 0);
  EXPECT_EQ(mine.address, addresses[0]);
  const auto nccl = make_nccl_communicator(testing::mpi_world(), mine.device);
  const at::Tensor one = at::ones({5});
  nccl.communicator->all_reduce(one);
  EXPECT_EQ(one[4].item<float>(), size());
}

TEST_F(NcclAdapter, RanksThatShareAGpuAreRefused) {
  if (size() == 1) return;
  fakes::fake_cuda().addresses.assign(4, "0000:01:00.0");
  testing::expect_input_error([] { make_world(); },
                              {"ranks 0 and 1 on host ",
                               "share the GPU at 0000:01:00.0",
                               "(their devices 0 and 1)"});
}

// So does one whose start fails when the operation is queued already.
TEST_F(NcclAdapter, AFailedStartKeepsItsTensors) {
  const std::shared_ptr<NcclComm> comm =
      make_comm(std::make_shared<NcclContext>(rank()));
  at::Tensor data = at::ones({1000}, at::kFloat);
  const auto weak =
      c10::weak_intrusive_ptr<c10::TensorImpl>(data.getIntrusivePtr());
  fakes::fake_nccl().reset();
  fakes::fake_nccl().stuck_operation = 1;
  const auto start = [&](std::vector<at::Tensor> tensors, void* memory) {
    NcclWork(comm,
             {"all_reduce #1", 60s},
             at::kCPU,
             std::move(tensors),
             [&](const NcclCall& call) {
               comm->all_reduce({memory, memory, 1000, NcclType::fp32},
                                ReduceOp::sum,
                                call);
               fakes::fake_cuda().failing = "cudaEventRecord";
             });
  };
  void* const memory = data.data_ptr();
  expect_communication_error([&] { start({std::move(data)}, memory); },
                             {"all_reduce #1: cudaEventRecord"});
  fakes::fake_cuda() = {};
  EXPECT_FALSE(weak.expired());
  EXPECT_TRUE(comm->context()->abort("the test ends", 10s));
  while (!weak.expired()) std::this_thread::sleep_for(1ms);
}

// A dropped Work keeps its tensors until the operation has ended.
TEST_F(NcclAdapter, DroppedWorkKeepsItsTensors) {
  if (size() == 1) return;
  const auto nccl = make_world();
  at::Tensor data = at::ones({1000}, at::kFloat);
  const auto weak =
      c10::weak_intrusive_ptr<c10::TensorImpl>(data.getIntrusivePtr());
  auto* const memory = data.data_ptr<float>();
  fakes::fake_nccl().reset();
  fakes::fake_nccl().stuck_operation = 1;
  static_cast<void>(nccl.communicator->all_reduce_async(data));
  data.reset();
  EXPECT_FALSE(weak.expired());
  EXPECT_EQ(memory[999], 1);
  EXPECT_TRUE(nccl.abort("the test ends", 10s));
  while (!weak.expired()) std::this_thread::sleep_for(1ms);
}

}  // namespace
}  // namespace mumoe::dist
