#include "dist/nccl/nccl_version.h"

namespace mumoe::dist {

std::optional<std::string> nccl_version() {
  return std::nullopt;
}

}  // namespace mumoe::dist
