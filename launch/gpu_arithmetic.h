#pragma once

#include <string>

namespace mumoe::launch {

/// How the GPU of this process adds, for all of LibTorch: before the first
/// product. `deterministic`: the same operands give the same bits each time.
/// Attention is then, in bf16, the flash kernel, whose backward pass adds in
/// one order, not cuDNN's, which does not; an operation that has no such way
/// throws. Returns a line about it. Throws `InputError` when
/// CUBLAS_WORKSPACE_CONFIG, which `main` sets, lets cuBLAS choose otherwise.
std::string set_gpu_arithmetic(bool deterministic);

}  // namespace mumoe::launch
