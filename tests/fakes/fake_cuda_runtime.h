#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
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
  /// Whether streams go on where they are told to wait for an event: what a
  /// test must see.
  bool forgets_waits = false;
};
FakeCuda& fake_cuda();

/// When streams run what they hold: one in `one_in` pieces of work waits up to
/// `microseconds` first, as numbers drawn from `seed` want it; 0: none does.
struct Lag {
  std::atomic<std::int64_t> microseconds{0};
  std::atomic<std::int64_t> one_in{1};
  std::atomic<std::uint64_t> seed{1};
};
Lag& stream_lag();

/// The devices on which this process has made a context since
/// `forget_contexts`: as of CUDA 12, those that a thread has made its current
/// one, and those that were current in a call that needs one.
std::set<int> devices_with_contexts();
void forget_contexts();
/// A call of NCCL: it needs a context of the current device.
void need_context();

/// A stream that no device has to have a context for.
cudaStream_t make_stream();
/// Queues `work`.
void push(cudaStream_t stream, std::function<void()> work);
/// Blocks until what is queued now has run.
void synchronize(cudaStream_t stream);
/// What the first piece of work that threw said, since the last call; else
/// empty.
std::string take_failure();
/// The null stream runs what it is given at once, on the calling thread.
inline constexpr cudaStream_t kHostStream = nullptr;

// By what stands in LibTorch's place: fake_cuda_tensors.cpp or sim_*.cpp.

/// LibTorch's stream of this thread; of simulated GPUs it is not this one.
cudaStream_t& current_stream();
/// Where the host may follow a pointer of the device.
void* kernel_view_of(const void* pointer);

}  // namespace mumoe::fakes
