#pragma once

#include <driver_types.h>

#include <string>
#include <string_view>

namespace mumoe::dist {

/// Throws `CommunicationError("WHAT: EXPRESSION: CUDA's text")` unless `code`
/// is cudaSuccess.
void check_cuda(cudaError_t code,
                std::string_view expression,
                std::string_view what);

/// `call` of the CUDA runtime, on behalf of `what`.
#define MUMOE_CUDA_CHECK(call, what) \
  ::mumoe::dist::check_cuda((call), #call, (what))

/// GPUs that this process sees.
struct CudaDevices {
  int count = 0;
  /// Why CUDA cannot tell, in its words; empty where it can, and where there is
  /// no driver or no GPU.
  std::string fault = {};
};
CudaDevices cuda_devices();
/// The PCI address of device `device`, "0000:17:00.0": one GPU of a host has
/// one, whatever the process that sees it calls it.
std::string cuda_device_address(int device);

/// Makes `device` the calling thread's, for good: a rank has one GPU, and a
/// thread that is given back the one it began with, 0, makes a context there,
/// half a GB of another rank's memory. What is below does so by itself.
void use_cuda_device(int device, std::string_view what);

/// A queue of work on `device`, not ordered with the default stream. What is
/// still in it when it is destroyed runs to its end.
class CudaStream {
 public:
  CudaStream(int device, std::string_view what);
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
};

/// A point in a stream of `device` that others can wait for.
class CudaEvent {
 public:
  CudaEvent(int device, std::string_view what);
  ~CudaEvent();
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  /// The point is where `stream` now ends.
  void record(cudaStream_t stream, std::string_view what);
  /// What `stream` gets from now on runs after the point. Does not block.
  void let_wait(cudaStream_t stream, std::string_view what) const;
  /// Whether the device has reached the point. Never blocks.
  bool reached(std::string_view what) const;

 private:
  int device_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace mumoe::dist
