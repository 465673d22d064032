#include "dist/nccl/nccl_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace mumoe::dist {

bool is_well(ncclResult_t result) {
  return result == ncclSuccess || result == ncclInProgress;
}

std::string nccl_texts(ncclResult_t result, ncclComm_t comm) {
  std::string text = ncclGetErrorString(result);
  const char* last = ncclGetLastError(comm);
  if (last != nullptr && *last != '\0') text += fmt::format(" ({})", last);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

void check_nccl(ncclResult_t result,
                ncclComm_t comm,
                std::string_view expression,
                const NcclCall& call) {
  if (is_well(result)) return;
  fail<CommunicationError>("{}: {}: {}",
                           call.what,
                           expression,
                           nccl_texts(result, comm));
}

}  // namespace mumoe::dist
