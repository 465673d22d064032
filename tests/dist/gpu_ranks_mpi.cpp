#include "dist/nccl/nccl_communicator.h"
#include "tests/dist/gpu_ranks.h"
#include "tests/support/mpi_main.h"

namespace mumoe::testing {

void over_gpus(const std::function<void(dist::Communicator&, int)>& body) {
  const int device = dist::device_place(mpi_runtime().local_rank()).device;
  dist::use_gpu(device);
  body(mpi_world(), device);
}

}  // namespace mumoe::testing
