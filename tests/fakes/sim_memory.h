#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>

// Memory of simulated GPUs. It is mapped twice: where its pointers point nobody
// may read or write, and kernels work through a second view, which the host is
// not told of. A fault names the last operation that was queued.

namespace mumoe::fakes {

/// A block of `bytes` on `device` for use in the order of `stream`, all NaN;
/// null where the device has no room left for it.
void* allocate_memory(int device, std::size_t bytes, cudaStream_t stream);
/// Gives it back: it is NaN again, and may be allocated again by the same
/// stream, after what `stream` now holds and what other streams held when they
/// were recorded.
void free_memory(void* pointer);
/// `pointer` is also in use by what `stream` now holds.
void record_use(void* pointer, cudaStream_t stream);

/// The device of memory that was allocated here; -1 for any other.
int device_of_memory(const void* pointer);
/// Bytes that were asked for in the block that begins at `pointer`; 0 for any
/// other pointer.
std::size_t bytes_at(const void* pointer);
/// Where kernels find what `pointer` points to; other memory is where it is.
void* kernel_view(const void* pointer);

/// In bytes, of one device.
struct MemoryUse {
  std::size_t allocated = 0;
  std::size_t peak = 0;      ///< Since the start, or since `reset_peak`.
  std::size_t reserved = 0;  ///< Allocated and freed.
};
MemoryUse memory_use(int device);
void reset_peak(int device);

/// While one lives, pointers of all devices can be followed: for kernels of the
/// project, whose pointers lie in their arguments. One at a time.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

/// What a fault of this thread is told to have come after.
void set_last_operation(const char* name);

}  // namespace mumoe::fakes
