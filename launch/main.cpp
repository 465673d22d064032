#include <malloc.h>

#include <csignal>
#include <cstdlib>

#include "launch/program.h"

namespace {

/// Keeps freed memory in the process: every step allocates the same large
/// tensors again, and fresh pages from the kernel cost more than the sums in
/// them (3 % of a step of the default recipe).
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  // dist/nccl/nccl_context.h says why. No other thread reads the environment
  // yet.
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
  // launch/gpu_arithmetic.h says why.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  // A file beyond the limit of the process is an error of writing, as a full
  // disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  return mumoe::launch::run_program(argc, argv);
}
