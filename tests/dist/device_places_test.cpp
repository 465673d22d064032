#include "dist/nccl/device_places.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace mumoe::dist {
namespace {

DevicePlace place(int rank) {
  const std::string host = std::to_string(rank / 2);
  return {.host = {"node" + host, "boot" + host},
          .device = rank % 2,
          .visible = 2,
          .address = "0000:0" + std::to_string(rank % 2) + ":00.0"};
}

TEST(DevicePlaces, EachRankHasItsOwn) {
  ThreadWorld::run(4, [](Communicator& world) {
    EXPECT_NO_THROW(require_own_devices(world, place(world.rank())));
  });
}

TEST(DevicePlaces, TwoRanksOfOneHostShareAGpu) {
  ThreadWorld::run(4, [](Communicator& world) {
    DevicePlace mine = place(world.rank());
    if (world.rank() == 3) mine.address = "0000:00:00.0";
    testing::expect_input_error(
        [&] { require_own_devices(world, mine); },
        {"ranks 2 and 3 on host node1 share the GPU at 0000:00:00.0",
         "devices 0 and 1",
         "CUDA_VISIBLE_DEVICES"});
  });
}

TEST(DevicePlaces, HostsOfOneNameAreToldApart) {
  ThreadWorld::run(2, [](Communicator& world) {
    DevicePlace mine = place(0);
    mine.host.machine = "boot" + std::to_string(world.rank());
    EXPECT_NO_THROW(require_own_devices(world, mine));
    mine.host.machine = "boot";
    EXPECT_THROW(require_own_devices(world, mine), InputError);
  });
}

TEST(DevicePlaces, ARankWithoutAGpuIsNamedOnAllRanks) {
  ThreadWorld::run(3, [](Communicator& world) {
    DevicePlace mine = place(0);
    mine.device = world.rank();
    mine.address = std::to_string(world.rank());
    if (world.rank() == 2) mine.address.clear();
    testing::expect_input_error([&] { require_own_devices(world, mine); },
                                {"rank 2 on host node0 has no GPU 2: 2 visible",
                                 "expected one for each rank of a host"});
  });
}

// It says more than that a rank has none, whichever rank that is.
TEST(DevicePlaces, WhatCudaSaysComesFirst) {
  ThreadWorld::run(3, [](Communicator& world) {
    DevicePlace mine = place(0);
    mine.address.clear();
    mine.visible = 0;
    if (world.rank() == 1) mine.fault = "driver too old, 12 < 13\nor so";
    EXPECT_EQ(find_device_fault(world, mine),
              "rank 1 on host node0 cannot use its GPU: driver too old, 12 < "
              "13\nor so");
  });
}

TEST(DevicePlaces, LongNamesAreCut) {
  ThreadWorld::run(2, [](Communicator& world) {
    DevicePlace mine = place(world.rank());
    mine.host.name = std::string(500, 'h');
    mine.address = std::string(500, 'a');
    testing::expect_input_error([&] { require_own_devices(world, mine); },
                                {std::string(60, 'h'), std::string(40, 'a')});
  });
}

TEST(DevicePlaces, TheOnlyVisibleOneOrThatOfTheLocalRank) {
  EXPECT_EQ(device_of(0, 1), 0);
  EXPECT_EQ(device_of(3, 1), 0);
  EXPECT_EQ(device_of(3, 4), 3);
  EXPECT_EQ(device_of(3, 2), 3);  // it has none
}

}  // namespace
}  // namespace mumoe::dist
