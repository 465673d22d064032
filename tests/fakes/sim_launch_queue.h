#pragma once

#include <functional>
#include <vector>

namespace mumoe::fakes {

/// Queues kernel `name` on `stream`, a cudaStream_t. One runs at a time.
/// `words`: all that could be a pointer in its arguments, in their order.
void queue_kernel(const char* name,
                  void* stream,
                  const std::vector<const void*>& words,
                  std::function<void()> kernel);

}  // namespace mumoe::fakes
