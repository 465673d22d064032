#pragma once

// Runs CUDA kernels on the CPU: include this, then the .cu file, in a test that
// g++ compiles. Each thread of a block is a fiber; one block runs at a time, on
// the calling thread, and a launch returns when the kernel is done.
//
// A barrier or a shuffle that some thread of the block or warp never reaches is
// undefined on a GPU; here it throws std::logic_error. Launch from one thread
// at a time: __shared__ is `static`. Compile with -Wno-unknown-pragmas, for
// #pragma unroll.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/fakes/fiber_switch.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __shared__ static

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1)
      : x(x), y(y), z(z) {}
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid configuration argument";
}
/// Of the last call that failed, until someone asks.
inline cudaError_t cuda_last_error = cudaSuccess;
inline cudaError_t cudaGetLastError() {
  return std::exchange(cuda_last_error, cudaSuccess);
}
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace cuda_emulation {

constexpr int kWarp = 32;

/// Counts arrivals; a thread has passed when the generation has moved on.
struct Barrier {
  int arrived = 0;
  std::uint64_t generation = 0;
};

struct Warp {
  Barrier barrier;
  /// Two sets of slots in turn: a thread that is ahead by one exchange does
  /// not overwrite what the others still read.
  unsigned char slot[2][kWarp][8];
};

struct Fiber {
  fibers::Context context;
  std::unique_ptr<unsigned char[]> stack;
  bool done = false;
  unsigned exchanges = 0;
};

/// One block in flight.
class Block {
 public:
  static constexpr std::size_t kStackBytes = 32 * 1024;

  explicit Block(int threads)
      : fibers_(threads), warps_((threads + kWarp - 1) / kWarp) {
    for (Fiber& fiber : fibers_) {
      fiber.stack.reset(new unsigned char[kStackBytes]);
    }
  }

  /// Runs `body` once in every thread of the block.
  template <class F>
  void run(F& body) {
    current_block() = this;
    warps_.assign(warps_.size(), Warp{});
    barrier_ = Barrier{};
    body_ = [](void* f) { (*static_cast<F*>(f))(); };
    body_argument_ = &body;
    for (Fiber& fiber : fibers_) {
      fiber.done = false;
      fiber.exchanges = 0;
      fibers::prepare(fiber.context,
                      fiber.stack.get(),
                      kStackBytes,
                      &Block::start);
    }
    for (int left = static_cast<int>(fibers_.size()); left > 0;) {
      progressed_ = false;
      for (current_ = 0; current_ < fibers_.size(); ++current_) {
        if (fibers_[current_].done) continue;
        threadIdx = dim3(static_cast<unsigned>(current_));
        fibers::go(scheduler_, fibers_[current_].context);
        left -= fibers_[current_].done;
      }
      if (!progressed_) {
        throw std::logic_error(
            "CUDA emulation: threads wait at a barrier or a shuffle that "
            "others never reach");
      }
    }
  }

  void sync_block() { wait(barrier_, static_cast<int>(fibers_.size())); }
  void sync_warp() { wait(warp().barrier, kWarp); }

  /// The value of the thread `mask` away in the warp.
  template <class T>
  T shuffle_xor(T value, int mask) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
    const int lane = static_cast<int>(current_ % kWarp);
    auto& slots = warp().slot[fibers_[current_].exchanges++ % 2];
    std::memcpy(slots[lane], &value, sizeof(T));
    sync_warp();
    std::memcpy(&value, slots[lane ^ mask], sizeof(T));
    return value;
  }

  /// Bit l: the predicate of the warp's thread l.
  unsigned ballot(bool predicate) {
    auto& slots = warp().slot[fibers_[current_].exchanges++ % 2];
    slots[current_ % kWarp][0] = predicate;
    sync_warp();
    unsigned bits = 0;
    for (int lane = 0; lane < kWarp; ++lane) {
      bits |= static_cast<unsigned>(slots[lane][0]) << lane;
    }
    return bits;
  }

  static Block*& current_block() {
    static Block* block = nullptr;
    return block;
  }

 private:
  static void start() {
    Block& block = *current_block();
    block.body_(block.body_argument_);
    block.fibers_[block.current_].done = true;
    block.progressed_ = true;
    fibers::go(block.fibers_[block.current_].context, block.scheduler_);
  }

  Warp& warp() { return warps_[current_ / kWarp]; }

  void wait(Barrier& barrier, int expected) {
    const std::uint64_t generation = barrier.generation;
    if (++barrier.arrived == expected) {
      barrier.arrived = 0;
      ++barrier.generation;
      progressed_ = true;
      return;
    }
    while (barrier.generation == generation) {
      const std::size_t self = current_;
      fibers::go(fibers_[self].context, scheduler_);
    }
  }

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  Barrier barrier_;
  fibers::Context scheduler_;
  std::size_t current_ = 0;
  bool progressed_ = false;
  void (*body_)(void*) = nullptr;
  void* body_argument_ = nullptr;
};

}  // namespace cuda_emulation

inline void __syncthreads() {
  cuda_emulation::Block::current_block()->sync_block();
}
inline void __syncwarp(unsigned = 0xffffffffu) {
  cuda_emulation::Block::current_block()->sync_warp();
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
  if (mask != 0xffffffffu) std::abort();  // partial warps are not emulated
  return cuda_emulation::Block::current_block()->shuffle_xor(value, lane_mask);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  if (mask != 0xffffffffu) std::abort();
  return cuda_emulation::Block::current_block()->ballot(predicate);
}
inline int __popc(unsigned bits) {
  return __builtin_popcount(bits);
}
/// One thread runs at a time.
template <class T>
T atomicAdd(T* address, T value) {
  return std::exchange(*address, *address + value);
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const unsigned threads = config->blockDim.x;
  if (threads == 0 || threads > 1024 || config->gridDim.x == 0) {
    return cuda_last_error = cudaErrorInvalidConfiguration;
  }
  blockDim = config->blockDim;
  gridDim = config->gridDim;
  auto body = [&] { kernel(arguments...); };
  // Kept: the stacks of a block are worth more than its kernel.
  static auto& blocks =
      *new std::map<unsigned, std::unique_ptr<cuda_emulation::Block>>;
  auto& block = blocks[threads];
  if (block == nullptr) {
    block = std::make_unique<cuda_emulation::Block>(static_cast<int>(threads));
  }
  for (unsigned b = 0; b < gridDim.x; ++b) {
    blockIdx = dim3(b);
    block->run(body);
  }
  return cudaSuccess;
}
