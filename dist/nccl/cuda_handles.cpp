#include "dist/nccl/cuda_handles.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/error.h"

namespace mumoe::dist {
namespace {

std::string text_of(std::string_view expression, cudaError_t code) {
  return fmt::format("{}: {}, {}",
                     expression,
                     cudaGetErrorName(code),
                     cudaGetErrorString(code));
}

/// "13.0", as CUDA writes 13000.
std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version / 10 % 100);
}

/// Of a call whose failure changes nothing. It is forgotten, else the next
/// launch of someone else reports it.
void ignore(cudaError_t code) {
  if (code != cudaSuccess) cudaGetLastError();
}

}  // namespace

void check_cuda(cudaError_t code,
                std::string_view expression,
                std::string_view what) {
  if (code == cudaSuccess) return;
  ignore(code);
  fail<CommunicationError>("{}: {}", what, text_of(expression, code));
}

CudaDevices cuda_devices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess) return {count};
  ignore(code);
  int driver = 0, library = 0;
  // Without a driver, too, it is "insufficient"; its version is then 0.
  ignore(cudaDriverGetVersion(&driver));
  if (driver == 0 || code == cudaErrorNoDevice ||
      code == cudaErrorStubLibrary) {
    return {};
  }
  std::string fault = text_of("cudaGetDeviceCount", code);
  if (code == cudaErrorInsufficientDriver) {
    ignore(cudaRuntimeGetVersion(&library));
    fault += fmt::format(" (the driver is for CUDA {}, this program needs {})",
                         version_text(driver),
                         version_text(library));
  }
  return {0, std::move(fault)};
}

std::string cuda_device_address(int device) {
  std::array<char, 32> address{};
  MUMOE_CUDA_CHECK(
      cudaDeviceGetPCIBusId(address.data(), address.size(), device),
      fmt::format("GPU {}", device));
  return address.data();
}

std::string cuda_device_name(int device) {
  cudaDeviceProp properties{};
  MUMOE_CUDA_CHECK(cudaGetDeviceProperties(&properties, device),
                   fmt::format("GPU {}", device));
  return properties.name;
}

void use_cuda_device(int device, std::string_view what) {
  MUMOE_CUDA_CHECK(cudaSetDevice(device), what);
}

void keep_cuda_device(int device) noexcept {
  ignore(cudaSetDevice(device));
}

CudaStream::CudaStream(int device, std::string_view what) : device_(device) {
  use_cuda_device(device_, what);
  MUMOE_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                   what);
}

CudaStream::~CudaStream() {
  keep_cuda_device(device_);
  ignore(cudaStreamDestroy(stream_));
}

CudaEvent::CudaEvent(int device, std::string_view what, Timing timing)
    : device_(device) {
  use_cuda_device(device_, what);
  const unsigned flags =
      timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming;
  MUMOE_CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags), what);
}

CudaEvent::~CudaEvent() {
  keep_cuda_device(device_);
  ignore(cudaEventDestroy(event_));
}

void CudaEvent::record(cudaStream_t stream, std::string_view what) {
  use_cuda_device(device_, what);
  MUMOE_CUDA_CHECK(cudaEventRecord(event_, stream), what);
}

void CudaEvent::let_wait(cudaStream_t stream, std::string_view what) const {
  use_cuda_device(device_, what);
  MUMOE_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0), what);
}

bool CudaEvent::reached(std::string_view what) const {
  use_cuda_device(device_, what);
  const cudaError_t code = cudaEventQuery(event_);
  if (code == cudaErrorNotReady) {
    ignore(code);
    return false;
  }
  check_cuda(code, "cudaEventQuery", what);
  return true;
}

void CudaEvent::synchronize(std::string_view what) const {
  use_cuda_device(device_, what);
  MUMOE_CUDA_CHECK(cudaEventSynchronize(event_), what);
}

double CudaEvent::seconds_since(const CudaEvent& earlier,
                                std::string_view what) const {
  use_cuda_device(device_, what);
  float milliseconds = 0;
  MUMOE_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, earlier.event_, event_),
                   what);
  return 1e-3 * static_cast<double>(milliseconds);
}

}  // namespace mumoe::dist
