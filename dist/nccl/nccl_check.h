#pragma once

#include <nccl.h>

#include <string>
#include <string_view>

#include "dist/nccl/nccl_comm.h"

namespace mumoe::dist {

/// Whether `result` is success or in progress.
bool is_well(ncclResult_t result);

/// NCCL's two texts for `result`, on one line. `comm` may be null.
std::string nccl_texts(ncclResult_t result, ncclComm_t comm);

/// Throws `CommunicationError` unless `result` is success or in progress: whose
/// call it was, `expression` and NCCL's two texts for `result`, on one line.
/// `comm` may be null.
void check_nccl(ncclResult_t result,
                ncclComm_t comm,
                std::string_view expression,
                const NcclCall& call);

}  // namespace mumoe::dist
