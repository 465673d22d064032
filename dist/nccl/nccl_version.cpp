#include "dist/nccl/nccl_version.h"

#include <fmt/format.h>
#include <nccl.h>

#include "base/error.h"

namespace mumoe::dist {

std::optional<std::string> nccl_version() {
  int version = 0;
  const ncclResult_t result = ncclGetVersion(&version);
  if (result != ncclSuccess) {
    fail<CommunicationError>("ncclGetVersion: {}", ncclGetErrorString(result));
  }
  return fmt::format("{}.{}.{}",
                     version / 10000,
                     version / 100 % 100,
                     version % 100);
}

}  // namespace mumoe::dist
