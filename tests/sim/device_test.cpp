// What the simulated GPU must find: each of these would pass unseen where
// device memory is the host's.

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <future>

#include "dist/nccl/cuda_handles.h"
#include "dist/nccl/cuda_tensors.h"
#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/sim_gpu.h"

namespace mumoe {
namespace {

const at::Device kGpu(at::kCUDA, 0);

at::TensorOptions on_gpu(at::ScalarType type = at::kFloat) {
  return at::TensorOptions(type).device(kGpu);
}

class SimulatedGpu : public ::testing::Test {
 protected:
  SimulatedGpu() {
    fakes::stream_lag().microseconds = 0;
    fakes::sim_gpu() = {};
    fakes::take_gpu_counts();
  }
};

using SimulatedGpuDeathTest = SimulatedGpu;

TEST_F(SimulatedGpu, ComputesAsTheCpu) {
  const at::Tensor a = at::arange(12, at::kFloat).view({3, 4});
  const at::Tensor b = a.to(kGpu);
  EXPECT_TRUE(b.is_cuda());
  EXPECT_TRUE(at::equal((b.mm(b.t()) + 1).softmax(1).cpu(),
                        (a.mm(a.t()) + 1).softmax(1)));
  EXPECT_TRUE(at::equal(at::cat({b, b}, 1).sum({0}).cpu(),
                        at::cat({a, a}, 1).sum({0})));
  EXPECT_EQ(b.max().item<float>(), 11);
  EXPECT_TRUE(at::equal(b.gt(5).nonzero().cpu(), a.gt(5).nonzero()));
}

TEST_F(SimulatedGpuDeathTest, TheHostCannotReadOrWriteItsMemory) {
  const at::Tensor a = at::ones({4}, on_gpu());
  EXPECT_DEATH(std::printf("%f", *static_cast<float*>(a.data_ptr())),
               "the host touches memory of cuda:0; this thread's last "
               "operation there was aten::fill_");
  EXPECT_DEATH(*static_cast<float*>(a.data_ptr()) = 1,
               "the host touches memory of cuda:0");
  // A `.cpu()` left out.
  const at::Tensor b = at::empty({4}, at::kFloat);
  EXPECT_DEATH(std::memcpy(b.data_ptr(), a.data_ptr(), 16),
               "the host touches memory of cuda:0");
}

TEST_F(SimulatedGpu, NewMemoryIsNaN) {
  EXPECT_TRUE(at::empty({5}, on_gpu()).isnan().all().item<bool>());
  EXPECT_TRUE(at::empty({5}, on_gpu(at::kBFloat16)).isnan().all().item<bool>());
  // Also where there were numbers before.
  { const at::Tensor used = at::ones({7}, on_gpu(at::kDouble)); }
  EXPECT_TRUE(at::empty({7}, on_gpu(at::kDouble)).isnan().all().item<bool>());
}

TEST_F(SimulatedGpu, DevicesDoNotMix) {
  const at::Tensor here = at::ones({3}, on_gpu());
  const at::Tensor there =
      at::ones({3}, at::TensorOptions().device(at::Device(at::kCUDA, 1)));
  EXPECT_THROW(here + there, c10::Error);
  EXPECT_THROW(here + at::ones({3}), c10::Error);
  EXPECT_THROW(at::ones({3}).copy_(here).add_(here), c10::Error);
  EXPECT_NO_THROW(here + at::ones({}));
}

TEST_F(SimulatedGpu, WhatIsQueuedRunsLater) {
  std::promise<void> gate;
  fakes::push(dist::current_stream(kGpu),
              [open = gate.get_future().share()] { open.wait(); });
  const at::Tensor a = at::ones({3}, on_gpu());
  const at::Tensor sum = a.add(a).sum();  // the host goes on
  gate.set_value();
  EXPECT_EQ(sum.item<float>(), 6);
}

// Without the event another stream reads what is not there yet.
TEST_F(SimulatedGpu, AWaitThatIsLeftOutIsSeen) {
  for (const bool waits : {true, false}) {
    const dist::CudaStream other(0, "test");
    std::promise<void> gate;
    fakes::push(dist::current_stream(kGpu),
                [open = gate.get_future().share()] { open.wait(); });
    const at::Tensor a = at::full({3}, waits ? 1 : 2, on_gpu());
    at::Tensor copy;
    {
      dist::CudaEvent event(0, "test");
      event.record(dist::current_stream(kGpu), "test");
      if (waits) event.let_wait(other.get(), "test");
      const dist::StreamScope scope(kGpu, other.get());
      copy = a.clone();
      dist::record_stream(a, other.get());
      if (!waits) fakes::synchronize(other.get());
    }
    gate.set_value();
    fakes::synchronize(other.get());
    EXPECT_EQ(copy.eq(a).all().item<bool>(), waits);
  }
}

// Memory that another stream still reads is not used again, if it is told.
TEST_F(SimulatedGpu, ARecordedStreamThatIsLeftOutIsSeen) {
  for (const bool recorded : {true, false}) {
    const dist::CudaStream other(0, "test");
    at::Tensor a = at::ones({3}, on_gpu());
    fakes::synchronize(dist::current_stream(kGpu));
    std::promise<void> gate;
    fakes::push(other.get(),
                [open = gate.get_future().share()] { open.wait(); });
    at::Tensor copy;
    {
      const dist::StreamScope scope(kGpu, other.get());
      copy = a.clone();
    }
    if (recorded) dist::record_stream(a, other.get());
    a.reset();
    const at::Tensor again = at::zeros({3}, on_gpu());
    fakes::synchronize(dist::current_stream(kGpu));
    gate.set_value();
    fakes::synchronize(other.get());
    EXPECT_EQ(copy.eq(1).all().item<bool>(), recorded);
  }
}

TEST_F(SimulatedGpu, CountsWhatIsAskedOfIt) {
  const at::Tensor a = at::ones({4, 4}, on_gpu());
  fakes::take_gpu_counts();
  const at::Tensor b = a.mm(a);
  const auto product = fakes::take_gpu_counts();
  EXPECT_EQ(product.kernels, 1);
  EXPECT_EQ(product.bytes, 3 * 16 * 4);
  EXPECT_EQ(product.synchronisations, 0);
  b.sum().item<float>();
  const auto sum = fakes::take_gpu_counts();
  EXPECT_EQ(sum.kernels, 1);
  EXPECT_EQ(sum.copies, 1);
  EXPECT_EQ(sum.synchronisations, 1);
}

TEST_F(SimulatedGpu, PinnedMemoryIsReadLate) {
  const at::Tensor pinned =
      at::ones({3}, at::TensorOptions().pinned_memory(true));
  std::promise<void> gate;
  fakes::push(dist::current_stream(kGpu),
              [open = gate.get_future().share()] { open.wait(); });
  fakes::take_gpu_counts();
  const at::Tensor a = pinned.to(kGpu, /*non_blocking=*/true);
  EXPECT_EQ(fakes::take_gpu_counts().synchronisations, 0);
  pinned.fill_(2);  // too early
  gate.set_value();
  EXPECT_EQ(a.sum().item<float>(), 6);
}

TEST_F(SimulatedGpu, HasNoMoreMemoryThanItSays) {
  fakes::sim_gpu().memory = 1 << 20;
  const at::Tensor half = at::zeros({1 << 19}, on_gpu(at::kByte));
  EXPECT_THROW(at::empty({(1 << 19) + 1}, on_gpu(at::kByte)),
               c10::OutOfMemoryError);
}

}  // namespace
}  // namespace mumoe
