#pragma once

#include <cstdint>

#include "base/error.h"

// For .cu files: nvcc brings CUDA's run-time header by itself, and tests that
// compile a .cu file for the CPU bring tests/fakes/cuda_emulation.h.

namespace mumoe::kernels {

/// Keeps a parameter out of template deduction (std::type_identity of C++20).
template <class T>
struct Identity {
  using type = T;
};

/// Queues `kernel` with `grid` blocks of `block` threads on `stream`. Throws
/// `InternalError` with CUDA's text when the launch fails.
template <class... Parameters>
void launch(const char* name,
            void (*kernel)(Parameters...),
            std::int64_t grid,
            int block,
            void* stream,
            typename Identity<Parameters>::type... arguments) {
  if (grid == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(grid));
  config.blockDim = dim3(static_cast<unsigned>(block));
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error != cudaSuccess) {
    // Else the next launch of someone else reports it.
    static_cast<void>(cudaGetLastError());
    fail<InternalError>("{}: CUDA launch failed: {}",
                        name,
                        cudaGetErrorString(error));
  }
}

}  // namespace mumoe::kernels
