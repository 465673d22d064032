#pragma once

#include <c10/core/Device.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace mumoe::kernels {

/// The stream on which LibTorch queues work for `device`, as the kernels'
/// launchers take it (a cudaStream_t). Without CUDA's headers, so that files
/// which only pass it on build everywhere.
inline void* current_stream(c10::Device device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  return guard.getStreamNativeHandle(guard.getStream(device));
}

}  // namespace mumoe::kernels
