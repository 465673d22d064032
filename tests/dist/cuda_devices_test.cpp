// What CUDA says of its devices, over the fakes.

#include <gtest/gtest.h>

#include "dist/nccl/cuda_handles.h"
#include "dist/nccl/nccl_communicator.h"
#include "tests/dist/nccl_rig.h"

namespace mumoe::dist {
namespace {

class Devices : public OverFakes {};

TEST_F(Devices, AreCountedAndNamed) {
  auto& cuda = fakes::fake_cuda();
  EXPECT_EQ(cuda_devices().count, 4);
  EXPECT_EQ(cuda_device_address(1), "0000:02:00.0");
  EXPECT_EQ(cuda_device_name(1), "a GPU of host memory");
  expect_communication_error([] { cuda_device_address(4); },
                             {"GPU 4: cudaDeviceGetPCIBusId"});
  expect_communication_error([] { cuda_device_name(4); },
                             {"GPU 4: cudaGetDeviceProperties"});
  cuda.addresses.clear();
  EXPECT_EQ(cuda_devices().count, 0);
  EXPECT_EQ(cuda_devices().fault, "");
}

// Only where there is neither a driver nor a GPU is nothing to be said.
TEST_F(Devices, WhyTheyCannotBeCountedIsKept) {
  auto& cuda = fakes::fake_cuda();
  cuda.failing = "cudaGetDeviceCount";
  for (const auto code : {cudaErrorInsufficientDriver,
                          cudaErrorInitializationError,
                          cudaErrorSystemDriverMismatch,
                          cudaErrorSystemNotReady,
                          cudaErrorUnknown}) {
    cuda.failure = code;
    cuda.driver = 12020;
    EXPECT_EQ(cuda_devices().count, 0);
    std::string expected =
        "cudaGetDeviceCount: cudaErrorOfTheFake, CUDA's text";
    if (code == cudaErrorInsufficientDriver) {
      expected += " (the driver is for CUDA 12.2, this program needs 13.";
    }
    const std::string fault = cuda_devices().fault;
    EXPECT_EQ(fault.substr(0, expected.size()), expected) << code;
    EXPECT_EQ(device_place(0).fault, fault);
    cuda.driver = 0;
    EXPECT_EQ(cuda_devices().fault, "") << code;
  }
  cuda.driver = CUDART_VERSION;
  for (const auto code : {cudaErrorNoDevice, cudaErrorStubLibrary}) {
    cuda.failure = code;
    EXPECT_EQ(cuda_devices().fault, "") << code;
  }
  cuda.failing = "cudaDeviceGetPCIBusId";
  EXPECT_EQ(device_place(1).address, "");
  EXPECT_NE(device_place(1).fault.find("GPU 1: cudaDeviceGetPCIBusId"),
            std::string::npos);
  cuda = {};
}

}  // namespace
}  // namespace mumoe::dist
