#pragma once

#include <c10/core/Device.h>

namespace mumoe::testing {

/// The GPU of tests labelled gpu: what they allocate and compare is on it, and
/// nothing else names one.
inline c10::Device gpu() {
  return {c10::DeviceType::CUDA, 0};
}

}  // namespace mumoe::testing
