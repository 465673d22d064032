#pragma once

#include <cstdlib>

namespace mumoe::dist {

/// What NCCL (dist/nccl/nccl_context.h says why) and cuBLAS
/// (launch/gpu_arithmetic.h) read from the environment; what is set there
/// already stays. First thing in main, while no other thread reads it.
inline void set_gpu_environment() {
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
}

}  // namespace mumoe::dist
