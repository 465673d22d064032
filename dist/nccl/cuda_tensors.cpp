#include "dist/nccl/cuda_tensors.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace mumoe::dist {

at::Device cuda_device(int index) {
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

cudaStream_t current_stream(at::Device device) {
  return c10::cuda::getCurrentCUDAStream(device.index());
}

void record_stream(const at::Tensor& tensor, cudaStream_t stream) {
  c10::cuda::CUDACachingAllocator::recordStream(
      tensor.storage().data_ptr(),
      c10::cuda::getStreamFromExternal(stream, tensor.device().index()));
}

struct StreamScope::State {
  explicit State(c10::cuda::CUDAStream stream) : guard(stream) {}
  c10::cuda::CUDAStreamGuard guard;
};

StreamScope::StreamScope(at::Device device, cudaStream_t stream)
    : state_(std::make_unique<State>(
          c10::cuda::getStreamFromExternal(stream, device.index()))) {}

StreamScope::~StreamScope() = default;

}  // namespace mumoe::dist
