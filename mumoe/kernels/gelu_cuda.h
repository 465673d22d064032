#pragma once

#include <cstdint>

#include "mumoe/kernels/bf16.h"

// GELU on a GPU; free of LibTorch and of CUDA's headers. Equations and element
// types are those of mumoe/kernels/gelu.h.

namespace mumoe::kernels {

/// As `gelu_forward`, for device memory. Any count and alignment; 16-byte
/// accesses where all arrays lie equally far from a 16-byte boundary. Queued on
/// `stream` (a cudaStream_t) of the current device; does not wait. Throws
/// `InternalError` when the launch fails, and in a build without CUDA.
template <class E>
void gelu_forward_cuda(const E* x, E* y, std::int64_t count, void* stream);

/// As `gelu_backward`, for device memory; as above otherwise.
template <class E>
void gelu_backward_cuda(const E* x,
                        const E* grad_y,
                        E* grad_x,
                        E* y,
                        std::int64_t count,
                        void* stream);

}  // namespace mumoe::kernels
