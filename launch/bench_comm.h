#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "launch/commands.h"

namespace mumoe::launch {

/// `mumoe bench comm`: times collectives of many sizes over the axes of a mesh
/// and prints tables with the columns of nccl-tests. The backend is chosen as
/// for a training run, and watched as there: each size has parallel.deadline.
/// Collective over the world. Throws `InputError` for a bad option, and
/// `CommunicationError` at the end when results were wrong.
ExitCode bench_comm(const std::vector<std::string>& arguments,
                    const Invocation& invocation);

}  // namespace mumoe::launch
