// dist/nccl/cuda_tensors.h for tests: "GPU" tensors lie on the CPU and
// LibTorch's stream, unless a test sets another, is the host itself, on which a
// wait blocks.

#include "dist/nccl/cuda_tensors.h"
#include "tests/fakes/fake_cuda_runtime.h"

namespace mumoe::fakes {

cudaStream_t& current_stream() {
  static thread_local cudaStream_t stream = kHostStream;
  return stream;
}

void* kernel_view_of(const void* pointer) {
  return const_cast<void*>(pointer);
}

}  // namespace mumoe::fakes

namespace mumoe::dist {

at::Device cuda_device(int) {
  return at::kCPU;
}

cudaStream_t current_stream(at::Device) {
  return fakes::current_stream();
}

// Nobody waited: the memory may go as soon as the operation has ended.
void record_stream(const at::Tensor& tensor, cudaStream_t stream) {
  fakes::push(stream, [tensor] {});
}

struct StreamScope::State {};

// What LibTorch then does on the CPU comes after what the stream holds.
StreamScope::StreamScope(at::Device, cudaStream_t stream) {
  fakes::synchronize(stream);
}

StreamScope::~StreamScope() = default;

}  // namespace mumoe::dist
