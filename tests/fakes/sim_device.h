#pragma once

#include <ATen/core/Tensor.h>
#include <driver_types.h>

#include <functional>

// What LibTorch knows of simulated GPUs: their memory, streams and events.

namespace mumoe::fakes {

/// GPU `index`'s stream of this thread.
cudaStream_t stream_of_thread(int index);
/// Makes `stream` that, and returns the one before.
cudaStream_t exchange_stream_of_thread(int index, cudaStream_t stream);

/// Memory of the current device, in the order of its stream of this thread.
c10::Allocator& sim_allocator();

/// Queues `work` on the stream of this thread for `device`, if kernels run.
void queue_work(at::Device device, std::function<void()> work);
/// Waits for it as the simulation's own affair.
void settle_stream(at::Device device);
/// Waits, on behalf of `name`, until that stream has run what it holds. Throws
/// what work has thrown.
void wait_for_stream(at::Device device, const char* name);

}  // namespace mumoe::fakes
