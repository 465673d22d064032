#include "dist/nccl/cuda_handles.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <array>

#include "base/error.h"

namespace mumoe::dist {

void check_cuda(cudaError_t code,
                std::string_view expression,
                std::string_view what) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // else the next launch of someone else reports it
  fail<CommunicationError>("{}: {}: {}, {}",
                           what,
                           expression,
                           cudaGetErrorName(code),
                           cudaGetErrorString(code));
}

int cuda_device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

std::string cuda_device_address(int device) {
  std::array<char, 32> address{};
  MUMOE_CUDA_CHECK(
      cudaDeviceGetPCIBusId(address.data(), address.size(), device),
      fmt::format("GPU {}", device));
  return address.data();
}

CudaDeviceGuard::CudaDeviceGuard(int device, std::string_view what) {
  MUMOE_CUDA_CHECK(cudaGetDevice(&before_), what);
  if (before_ == device) return;
  MUMOE_CUDA_CHECK(cudaSetDevice(device), what);
}

CudaDeviceGuard::~CudaDeviceGuard() {
  cudaSetDevice(before_);
}

CudaStream::CudaStream(int device, std::string_view what) {
  const CudaDeviceGuard guard(device, what);
  MUMOE_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                   what);
}

CudaStream::~CudaStream() {
  cudaStreamDestroy(stream_);
}

CudaEvent::CudaEvent(int device, std::string_view what) {
  const CudaDeviceGuard guard(device, what);
  MUMOE_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
                   what);
}

CudaEvent::~CudaEvent() {
  cudaEventDestroy(event_);
}

void CudaEvent::record(cudaStream_t stream, std::string_view what) {
  MUMOE_CUDA_CHECK(cudaEventRecord(event_, stream), what);
}

void CudaEvent::let_wait(cudaStream_t stream, std::string_view what) const {
  MUMOE_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0), what);
}

bool CudaEvent::reached(std::string_view what) const {
  const cudaError_t code = cudaEventQuery(event_);
  if (code == cudaErrorNotReady) return false;
  check_cuda(code, "cudaEventQuery", what);
  return true;
}

}  // namespace mumoe::dist
