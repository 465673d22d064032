// dist/nccl/cuda_tensors.h for simulated GPUs.

#include "dist/nccl/cuda_tensors.h"

#include "tests/fakes/sim_device.h"
#include "tests/fakes/sim_memory.h"

namespace mumoe::dist {

at::Device cuda_device(int index) {
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

cudaStream_t current_stream(at::Device device) {
  return fakes::stream_of_thread(device.index());
}

void record_stream(const at::Tensor& tensor, cudaStream_t stream) {
  const void* at = tensor.storage().data();
  if (at != nullptr) fakes::record_use(const_cast<void*>(at), stream);
}

struct StreamScope::State {
  int device;
  cudaStream_t before;
};

StreamScope::StreamScope(at::Device device, cudaStream_t stream)
    : state_(std::make_unique<State>(
          State{device.index(),
                fakes::exchange_stream_of_thread(device.index(), stream)})) {}

StreamScope::~StreamScope() {
  fakes::exchange_stream_of_thread(state_->device, state_->before);
}

}  // namespace mumoe::dist
