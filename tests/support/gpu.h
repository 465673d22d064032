#pragma once

#include <c10/core/Device.h>

namespace mumoe::testing {

/// The GPU of tests labelled gpu: what they allocate and compare is on it, and
/// nothing else names one.
inline c10::Device gpu() {
  return {c10::DeviceType::CUDA, 0};
}

/// Where a test that is compiled for both has its tensors.
inline c10::Device test_device() {
#ifdef MUMOE_TEST_ON_GPU
  return gpu();
#else
  return c10::DeviceType::CPU;
#endif
}

}  // namespace mumoe::testing
