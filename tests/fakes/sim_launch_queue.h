#pragma once

#include <functional>

namespace mumoe::fakes {

/// Queues kernel `name` on `stream`, a cudaStream_t. One runs at a time.
void queue_kernel(const char* name, void* stream, std::function<void()> kernel);

}  // namespace mumoe::fakes
