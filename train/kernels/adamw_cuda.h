#pragma once

#include <cstdint>

#include "train/kernels/adamw.h"

// The passes of the optimizer on a GPU; free of LibTorch and of CUDA's headers.
// Everything is queued on `stream` (a cudaStream_t) of the current device and
// nothing waits. Throws `InternalError` when a launch fails, and in a build
// without CUDA.

namespace mumoe::train {

/// As `adamw_update`, for device memory.
template <class T>
void adamw_update_cuda(const AdamWScalars& scalars,
                       T* master,
                       const T* grad,
                       T* first,
                       T* second,
                       Bf16* compute,
                       std::int64_t n,
                       void* stream);

}  // namespace mumoe::train
