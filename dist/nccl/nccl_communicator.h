#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dist/communicator.h"
#include "dist/nccl/device_places.h"

namespace mumoe::dist {

/// Whether this build has the backend.
bool has_nccl();
/// The version of the NCCL library that this process would use, "2.28.3";
/// nothing in a build without CUDA.
std::optional<std::string> nccl_version();
/// This process's GPU (`device_of`), as the rank of number `local_rank` on its
/// host; in a build without CUDA there is none.
DevicePlace device_place(int local_rank);
/// Makes GPU `device` the calling thread's for good; without that, LibTorch's
/// and NCCL's calls leave a context on GPU 0 as well. Throws
/// `CommunicationError` with CUDA's text. A build without CUDA has none.
void use_gpu(int device);
/// What it is: "NVIDIA H100 80GB HBM3". Errors as of `use_gpu`.
std::string gpu_name(int device);

/// A group of GPUs, and what a watchdog needs of it. The functions may be
/// called from any thread, outlive the communicator, and hold for the groups
/// that were split from it as well.
struct NcclWorld {
  std::unique_ptr<Communicator> communicator;
  /// The first error that NCCL has found by itself, as a text; empty while all
  /// is well. Does not block.
  std::function<std::string()> async_error;
  /// Ends all communicators of this process together, because of a reason:
  /// operations under way end without a result, later ones and waits throw.
  /// False when NCCL has not come back within the limit.
  std::function<bool(const std::string&, std::chrono::milliseconds)> abort;
};

/// Collective over `control`: the same ranks over NCCL, each with GPU `device`
/// of those it sees. `control` moves CPU tensors; it gives its
/// deadline and phase, and is used here alone. Throws `InputError` on all ranks
/// when one has no GPU of its own or, in a build without CUDA, at once.
///
/// Operations run on a stream of their group, after what the current stream
/// held when they were called, and start in the order of the calls.
/// `Work::wait` lets the current stream wait and never blocks the host, so that
/// it cannot see a deadline pass on the GPU: a watchdog does. It throws when
/// NCCL has reported an error or was aborted. What blocks the host, until the
/// deadline: `barrier`, `split`, and the first operations of a group, which
/// open its connections.
///
/// min and max of floating-point tensors take twice the bytes: NCCL's lose
/// NaNs, whose places travel beside. reduce_scatter adds bf16 in fp32 and
/// rounds once; all_reduce rounds to bf16 at every rank that a sum passes.
NcclWorld make_nccl_communicator(Communicator& control,
                                 int device,
                                 std::string axis = "world");

}  // namespace mumoe::dist
