#pragma once

#include <ATen/core/Tensor.h>
#include <driver_types.h>

#include <memory>

namespace mumoe::dist {

// What the NCCL backend needs of LibTorch on GPUs, and all that its tests do
// without: they give these functions CPU tensors and streams of their own.

/// GPU `index`, as LibTorch names it.
at::Device cuda_device(int index);

/// The stream on which this thread's LibTorch queues work for `device`.
cudaStream_t current_stream(at::Device device);

/// Memory of `tensor`, when it is freed, is not used again before what `stream`
/// now holds has run.
void record_stream(const at::Tensor& tensor, cudaStream_t stream);

/// `stream` of `device` is this thread's current one while this lives.
class StreamScope {
 public:
  StreamScope(at::Device device, cudaStream_t stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mumoe::dist
