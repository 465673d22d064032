#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

// A CUDA runtime without a GPU: the functions that dist/ uses, over memory of
// the host. A stream is a thread that runs what is queued on it in order, so
// that what nobody waits for is really not there yet; an event is a point in
// it. Linked into a test in place of the real one.

namespace mumoe::fakes {

/// What the next calls find. One for the process, as the real one; `reset`
/// before a test.
struct FakeCuda {
  /// The GPUs' PCI addresses.
  std::vector<std::string> addresses = {"0000:01:00.0",
                                        "0000:02:00.0",
                                        "0000:03:00.0",
                                        "0000:04:00.0"};
  /// When not empty: the function that fails, every time, and with what.
  std::string failing;
  cudaError_t failure = cudaErrorUnknown;
  /// What the driver is for; 0: there is none.
  int driver = CUDART_VERSION;
};
FakeCuda& fake_cuda();

/// The devices on which this process has made a context since
/// `forget_contexts`: as of CUDA 12, those that a thread has made its current
/// one, and those that were current in a call that needs one.
std::set<int> devices_with_contexts();
void forget_contexts();
/// A call of NCCL: it needs a context of the current device.
void need_context();

/// Queues `work`.
void push(cudaStream_t stream, std::function<void()> work);
/// Blocks until what is queued now has run.
void synchronize(cudaStream_t stream);
/// The null stream runs what it is given at once, on the calling thread.
inline constexpr cudaStream_t kHostStream = nullptr;
/// LibTorch's stream of this thread (fake_cuda_tensors.cpp).
cudaStream_t& current_stream();

}  // namespace mumoe::fakes
