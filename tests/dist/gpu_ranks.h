#pragma once

#include <functional>

#include "dist/communicator.h"

namespace mumoe::testing {

/// Runs `body` once for each rank of the test, with a communicator of the CPU
/// and the rank's own GPU, which is the calling thread's: the ranks of a job
/// (gpu_ranks_mpi.cpp), or threads of this process, one for each GPU that it
/// sees (gpu_ranks_threads.cpp). Fails the test where a rank has no GPU.
void over_gpus(
    const std::function<void(dist::Communicator& control, int device)>& body);

}  // namespace mumoe::testing
