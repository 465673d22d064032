#include "base/error.h"
#include "dist/nccl_communicator.h"

namespace mumoe::dist {

bool has_nccl() {
  return false;
}

int visible_gpus() {
  return 0;
}

NcclWorld make_nccl_communicator(Communicator&, int, std::string) {
  fail<InputError>(
      "parallel.backend = nccl: this build has no CUDA, expected auto or mpi");
}

}  // namespace mumoe::dist
