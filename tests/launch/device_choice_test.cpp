#include "launch/device_choice.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <tuple>

#include "dist/null_communicator.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;
using dist::ThreadWorld;

// Of a process that sees the first `visible` GPUs of its host, or the only one.
GpusHere gpus(int visible, int local_rank, int only = 0) {
  dist::DevicePlace place{.host = {"node", "boot"},
                          .device = dist::device_of(local_rank, visible),
                          .visible = visible};
  if (place.device < visible) {
    place.address = fmt::format("0000:0{}:00.0", place.device + only);
  }
  return {.compiled_in = true, .place = place};
}

run::Options options_with(run::DeviceKind device, run::BackendChoice backend) {
  run::Options options;
  options.device = device;
  options.parallel.backend = backend;
  return options;
}

constexpr auto kAuto = run::DeviceKind::automatic;
constexpr auto kAutoBackend = run::BackendChoice::automatic;

TEST(Device, GpusWhereEveryRankHasOne) {
  ThreadWorld::run(3, [](Communicator& world) {
    run::Options options = options_with(kAuto, kAutoBackend);
    const auto chosen = choose_device(options, world, gpus(3, world.rank()));
    EXPECT_EQ(chosen.device, at::Device(at::kCUDA, world.rank()));
    EXPECT_EQ(chosen.kind(), run::DeviceKind::cuda);
    EXPECT_EQ(chosen.backend, run::BackendChoice::nccl);
    // What was settled stays.
    options = options_with(chosen.kind(), chosen.backend);
    EXPECT_EQ(choose_device(options, world, gpus(3, world.rank())).device,
              chosen.device);
  });
}

// As srun --gpus-per-task=1 binds them: each is number 0 to its rank.
TEST(Device, TheOnlyGpuThatARankSeesIsItsOwn) {
  ThreadWorld::run(3, [](Communicator& world) {
    run::Options options = options_with(kAuto, kAutoBackend);
    const auto mine = gpus(1, world.rank(), world.rank());
    const auto chosen = choose_device(options, world, mine);
    EXPECT_EQ(chosen.device, at::Device(at::kCUDA, 0));
    EXPECT_EQ(chosen.backend, run::BackendChoice::nccl);
  });
}

/// With all on auto and `visible` GPUs on each host: the CPU, and why.
DeviceChoice expect_cpu(Communicator& world,
                        int visible,
                        const std::string& why) {
  auto chosen = choose_device(options_with(kAuto, kAutoBackend),
                              world,
                              gpus(visible, world.rank()));
  EXPECT_TRUE(chosen.device.is_cpu());
  EXPECT_EQ(chosen.note.find("GPUs are not used: " + why), 0u);
  return chosen;
}

TEST(Device, OneGpuIsNotSharedByTwoRanks) {
  ThreadWorld::run(2, [](Communicator& world) {
    expect_cpu(world,
               1,
               "ranks 0 and 1 on host node share the GPU at "
               "0000:00:00.0");
    const auto options = options_with(run::DeviceKind::cuda, kAutoBackend);
    testing::expect_input_error(
        [&] { choose_device(options, world, gpus(1, world.rank())); },
        {"train.device = cuda: ranks 0 and 1 on host node share the GPU at "
         "0000:00:00.0"});
  });
}

TEST(Device, TheCpuWhereOneRankHasNone) {
  ThreadWorld::run(3, [](Communicator& world) {
    const DeviceChoice chosen =
        expect_cpu(world, 2, "rank 2 on host node has no GPU 2: 2 visible");
    EXPECT_EQ(chosen.kind(), run::DeviceKind::cpu);
    EXPECT_EQ(chosen.backend, run::BackendChoice::mpi);
    EXPECT_EQ(make_data_communicator({}, chosen, world).group, nullptr);
  });
}

TEST(Device, NothingIsSaidOfGpusWhereThereAreNone) {
  ThreadWorld::run(2, [](Communicator& world) {
    run::Options options = options_with(kAuto, kAutoBackend);
    const auto chosen = choose_device(options, world, gpus(0, world.rank()));
    EXPECT_TRUE(chosen.device.is_cpu());
    EXPECT_EQ(chosen.note, "");
  });
}

// A driver that is too old is no machine without GPUs.
TEST(Device, WhatCudaSaysIsPassedOn) {
  ThreadWorld::run(2, [](Communicator& world) {
    auto mine = gpus(0, world.rank());
    if (world.rank() == 1) mine.place.fault = "cudaErrorInsufficientDriver";
    const std::string fault =
        "rank 1 on host node cannot use its GPU: cudaErrorInsufficientDriver";
    const auto chosen =
        choose_device(options_with(kAuto, kAutoBackend), world, mine);
    EXPECT_TRUE(chosen.device.is_cpu());
    EXPECT_EQ(chosen.note, "GPUs are not used: " + fault);
    for (const auto& [device, backend, key] :
         {std::tuple(run::DeviceKind::cuda,
                     kAutoBackend,
                     "train.device = cuda"),
          std::tuple(kAuto,
                     run::BackendChoice::nccl,
                     "parallel.backend = nccl"),
          std::tuple(run::DeviceKind::cuda,
                     run::BackendChoice::null,
                     "train.device = cuda")}) {
      testing::expect_input_error(
          [&, device = device, backend = backend] {
            choose_device(options_with(device, backend), world, mine);
          },
          {std::string(key) + ": " + fault});
    }
    // Who asks for the CPU has it.
    const auto cpu =
        choose_device(options_with(run::DeviceKind::cpu, kAutoBackend),
                      world,
                      mine);
    EXPECT_EQ(cpu.note, "");
  });
}

TEST(Device, WhatIsAskedForIsDoneOrRefused) {
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto choose = [&](run::DeviceKind device, run::BackendChoice backend) {
    run::Options options = options_with(device, backend);
    return choose_device(options, *self, gpus(1, 0)).device;
  };
  EXPECT_TRUE(choose(run::DeviceKind::cuda, kAutoBackend).is_cuda());
  EXPECT_TRUE(choose(kAuto, run::BackendChoice::nccl).is_cuda());
  EXPECT_TRUE(choose(run::DeviceKind::cpu, kAutoBackend).is_cpu());
  EXPECT_TRUE(choose(kAuto, run::BackendChoice::mpi).is_cpu());
  testing::expect_input_error(
      [&] { choose(run::DeviceKind::cuda, run::BackendChoice::mpi); },
      {"parallel.backend = mpi", "train.device is cuda", "auto or nccl"});
  testing::expect_input_error(
      [&] { choose(run::DeviceKind::cpu, run::BackendChoice::nccl); },
      {"parallel.backend = nccl", "train.device is cpu", "auto or mpi"});
}

TEST(Device, TheModelOfALinkIsForTheCpu) {
  const auto self = dist::make_self_communicator(at::kCPU);
  run::Options options = options_with(run::DeviceKind::cpu, kAutoBackend);
  options.parallel.link = "50,10";
  EXPECT_TRUE(choose_device(options, *self, gpus(1, 0)).device.is_cpu());
  options.device = kAuto;
  options.parallel.backend = kAutoBackend;
  testing::expect_input_error(
      [&] { choose_device(options, *self, gpus(1, 0)); },
      {"parallel.link = 50,10",
       "expected parallel.backend = mpi, or train.device = cpu"});
}

// One rank of a large mesh asks for no more GPUs than its own.
TEST(Device, OneRankAloneHasAGpuOfItsOwn) {
  const auto self = dist::make_self_communicator(at::kCPU);
  run::Options options = options_with(kAuto, run::BackendChoice::null);
  options.parallel.dp = 64;
  options.parallel.tp = 8;
  const auto chosen = choose_device(options, *self, gpus(1, 0));
  EXPECT_TRUE(chosen.device.is_cuda());
  const auto world = dist::make_null_communicator({.dp = 64, .tp = 8});
  const auto carrier = make_data_communicator(options.parallel, chosen, *world);
  ASSERT_NE(carrier.group, nullptr);
  const dist::ProcessMesh mesh(*world, 64, 8, carrier.group.get());
  EXPECT_EQ(mesh.tp().size(), 8);
  EXPECT_EQ(mesh.dp().size(), 64);
}

TEST(Device, ARankWithoutAGpuIsNamedOnAllRanks) {
  ThreadWorld::run(3, [](Communicator& world) {
    run::Options options = options_with(run::DeviceKind::cuda, kAutoBackend);
    const int visible = world.rank() == 1 ? 0 : 4;
    testing::expect_input_error(
        [&] { choose_device(options, world, gpus(visible, world.rank())); },
        {"train.device = cuda: rank 1 on host node has no GPU 1: 0 visible, "
         "expected one for each rank of a host"});
    options = options_with(kAuto, run::BackendChoice::nccl);
    testing::expect_input_error(
        [&] { choose_device(options, world, gpus(visible, world.rank())); },
        {"parallel.backend = nccl: rank 1 on host node has no GPU 1"});
  });
}

TEST(Device, ABuildWithoutCudaSaysSo) {
  const auto self = dist::make_self_communicator(at::kCPU);
  run::Options options = options_with(run::DeviceKind::cuda, kAutoBackend);
  testing::expect_input_error([&] { choose_device(options, *self, {}); },
                              {"train.device = cuda: this build has no CUDA"});
  options = options_with(kAuto, kAutoBackend);
  EXPECT_TRUE(choose_device(options, *self, {}).device.is_cpu());
}

TEST(Device, TheNullBackendIsLeftAlone) {
  const auto self = dist::make_self_communicator(at::kCPU);
  run::Options options =
      options_with(run::DeviceKind::cpu, run::BackendChoice::null);
  const auto chosen = choose_device(options, *self, gpus(1, 0));
  EXPECT_TRUE(chosen.device.is_cpu());
  EXPECT_EQ(chosen.backend, run::BackendChoice::null);
}

}  // namespace
}  // namespace mumoe::launch
