#pragma once

#include <c10/core/Device.h>

#include <optional>

namespace mumoe::train {

/// What LibTorch's allocator holds of a device for this process, MiB; what
/// NCCL, cuBLAS's own and CUDA's context take is beside it.
struct DeviceMemory {
  double peak_mib = 0;      ///< Most in tensors since `begin_peak`.
  double reserved_mib = 0;  ///< Taken from the device, in use or kept for it.
};

/// None on a CPU. Does not wait for the device.
std::optional<DeviceMemory> device_memory(c10::Device device);
/// The peak is counted from now on.
void begin_peak(c10::Device device);

}  // namespace mumoe::train
