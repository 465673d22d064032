#include <malloc.h>

#include <csignal>

#include "dist/gpu_environment.h"
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
  mumoe::dist::set_gpu_environment();
  // A file beyond the limit of the process is an error of writing, as a full
  // disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  return mumoe::launch::run_program(argc, argv);
}
