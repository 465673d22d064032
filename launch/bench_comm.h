#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"

namespace mumoe::launch {

/// `mumoe bench comm`: times collectives of many sizes over the axes of a mesh
/// and prints tables with the columns of nccl-tests. The backend is chosen as
/// for a training run; `local_rank` is this rank's number on its host.
/// Collective over `world`. Throws `InputError` for a bad option, and
/// `CommunicationError` at the end when results were wrong.
ExitCode bench_comm(const std::vector<std::string>& arguments,
                    dist::Communicator& world,
                    int local_rank);

}  // namespace mumoe::launch
