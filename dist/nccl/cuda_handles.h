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

/// What it is: "NVIDIA H100 80GB HBM3".
std::string cuda_device_name(int device);

/// Makes `device` the calling thread's, for good: a rank has one GPU, and a
/// thread that is given back the one it began with, 0, makes a context there,
/// half a GB of another rank's memory. What is below does so by itself.
void use_cuda_device(int device, std::string_view what);
/// The same where a failure is left to what comes after.
void keep_cuda_device(int device) noexcept;

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

/// A point in a stream of `device` that others can wait for; `Timing::on`: and
/// whose time is kept.
class CudaEvent {
 public:
  enum class Timing { off, on };
  CudaEvent(int device, std::string_view what, Timing timing = Timing::off);
  ~CudaEvent();
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  /// The point is where `stream` now ends.
  void record(cudaStream_t stream, std::string_view what);
  /// What `stream` gets from now on runs after the point. Does not block.
  void let_wait(cudaStream_t stream, std::string_view what) const;
  /// Whether the device has reached the point. Never blocks.
  bool reached(std::string_view what) const;
  /// Blocks the host until it has.
  void synchronize(std::string_view what) const;
  /// Seconds from `earlier` to this point; both have been reached, and keep
  /// their times.
  double seconds_since(const CudaEvent& earlier, std::string_view what) const;

 private:
  int device_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace mumoe::dist
