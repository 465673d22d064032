#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"

namespace mumoe::dist {

bool has_nccl() {
  return false;
}

std::optional<std::string> nccl_version() {
  return std::nullopt;
}

DevicePlace device_place(int local_rank) {
  return {.host = this_host(), .device = device_of(local_rank, 0)};
}

void use_gpu(int device) {
  fail<InternalError>("GPU {}: this build has no CUDA", device);
}

std::string gpu_name(int device) {
  fail<InternalError>("GPU {}: this build has no CUDA", device);
}

NcclWorld make_nccl_communicator(Communicator&, int, std::string) {
  fail<InputError>(
      "backend = nccl: this build has no CUDA, expected auto or mpi");
}

}  // namespace mumoe::dist
