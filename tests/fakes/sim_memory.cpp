#include "tests/fakes/sim_memory.h"

#include <cuda_runtime_api.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/sim_gpu.h"

namespace mumoe::fakes {
namespace {

// Address space, not memory: pages come with the first write.
constexpr std::size_t kDeviceBytes = std::size_t{64} << 30;
constexpr int kDevices = 8;
constexpr std::size_t kArenaBytes = kDevices * kDeviceBytes;
constexpr std::size_t kAlignment = 512;
// Of every floating-point type NaN, of integers -1.
constexpr int kPoison = 0xff;

thread_local const char* last_operation = "nothing";

struct Block {
  int device = 0;
  std::size_t bytes = 0;
  std::size_t asked = 0;  ///< Before rounding.
  cudaStream_t stream = nullptr;
  std::vector<cudaEvent_t> uses;  ///< By other streams.
};

struct Device {
  std::size_t carved = 0;
  MemoryUse use;
  /// By size and stream; the last to come is the first to go.
  std::map<std::pair<std::size_t, cudaStream_t>, std::vector<char*>> free;
};

class Arena {
 public:
  Arena() {
    const int file = memfd_create("simulated GPUs", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, kArenaBytes) != 0) die("memfd_create");
    const auto map = [&](int protection) {
      void* at = mmap(nullptr,
                      kArenaBytes,
                      protection,
                      MAP_SHARED | MAP_NORESERVE,
                      file,
                      0);
      if (at == MAP_FAILED) die("mmap");
      return static_cast<char*>(at);
    };
    base_ = map(PROT_NONE);
    view_ = map(PROT_READ | PROT_WRITE);
    close(file);
    struct sigaction action = {};
    action.sa_sigaction = &Arena::fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_);
  }

  static Arena& get() {
    static auto& arena = *new Arena;
    return arena;
  }

  int device_of(const void* pointer) const {
    const auto* at = static_cast<const char*>(pointer);
    if (at < base_ || at >= base_ + kArenaBytes) return -1;
    return static_cast<int>((at - base_) / kDeviceBytes);
  }
  char* view(const void* pointer) const {
    return view_ + (static_cast<const char*>(pointer) - base_);
  }

  char* allocate(int device, std::size_t bytes, cudaStream_t stream) {
    const std::size_t asked = bytes;
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const std::lock_guard lock(mutex_);
    reclaim();
    Device& d = devices_[device];
    if (d.use.allocated + bytes > static_cast<std::size_t>(sim_gpu().memory)) {
      return nullptr;
    }
    char* at = take(d, device, bytes, stream);
    if (at == nullptr) return nullptr;
    d.use.allocated += bytes;
    d.use.peak = std::max(d.use.peak, d.use.allocated);
    blocks_[at] = {device, bytes, asked, stream, {}};
    return at;
  }

  void free(char* at) {
    const std::lock_guard lock(mutex_);
    auto node = blocks_.extract(at);
    Block& block = node.mapped();
    devices_[block.device].use.allocated -= block.bytes;
    if (block.uses.empty()) {
      give_back(at, block);
    } else {
      in_use_.emplace_back(at, std::move(block));
    }
  }

  void record(char* at, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    Block& block = blocks_.at(at);
    if (stream == block.stream) return;
    cudaEvent_t event = nullptr;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaEventRecord(event, stream);
    block.uses.push_back(event);
  }

  std::size_t bytes_at(const void* pointer) {
    if (device_of(pointer) < 0) return 0;
    const std::lock_guard lock(mutex_);
    const auto found =
        blocks_.find(const_cast<char*>(static_cast<const char*>(pointer)));
    return found == blocks_.end() ? 0 : found->second.asked;
  }

  MemoryUse use(int device) {
    const std::lock_guard lock(mutex_);
    MemoryUse use = devices_[device].use;
    use.reserved = devices_[device].carved;
    return use;
  }
  void reset_peak(int device) {
    const std::lock_guard lock(mutex_);
    devices_[device].use.peak = devices_[device].use.allocated;
  }

  void open() {
    opening_.lock();
    protect(PROT_READ | PROT_WRITE);
  }
  void close_again() {
    protect(PROT_NONE);
    opening_.unlock();
  }

 private:
  [[noreturn]] static void die(const char* what) {
    std::perror(what);
    std::abort();
  }

  // A freed block of this size and stream, else new memory.
  char* take(Device& d, int device, std::size_t bytes, cudaStream_t stream) {
    auto& freed = d.free[{bytes, stream}];
    if (!freed.empty()) {
      char* at = freed.back();
      freed.pop_back();
      return at;
    }
    if (d.carved + bytes > kDeviceBytes) return nullptr;
    char* at = base_ + device * kDeviceBytes + d.carved;
    d.carved += bytes;
    poison(at, bytes, stream);
    return at;
  }

  void poison(char* at, std::size_t bytes, cudaStream_t stream) {
    if (!sim_gpu().computes) return;
    push(stream, [to = view(at), bytes] { std::memset(to, kPoison, bytes); });
  }

  void give_back(char* at, const Block& block) {
    poison(at, block.bytes, block.stream);
    devices_[block.device].free[{block.bytes, block.stream}].push_back(at);
  }

  // What other streams have done with by now.
  void reclaim() {
    in_use_.remove_if([this](auto& waiting) {
      auto& [at, block] = waiting;
      for (cudaEvent_t event : block.uses) {
        if (cudaEventQuery(event) != cudaSuccess) return false;
      }
      for (cudaEvent_t event : block.uses) cudaEventDestroy(event);
      give_back(at, block);
      return true;
    });
  }

  void protect(int protection) {
    for (int d = 0; d < kDevices; ++d) {
      std::size_t used = 0;
      {
        const std::lock_guard lock(mutex_);
        used = devices_[d].carved;
      }
      if (used > 0) mprotect(base_ + d * kDeviceBytes, used, protection);
    }
  }

  static void fault(int signal, siginfo_t* info, void*) {
    const Arena& arena = get();
    const int device = arena.device_of(info->si_addr);
    if (device >= 0) {
      char text[256];
      const int size = std::snprintf(
          text,
          sizeof(text),
          "simulated GPU: the host touches memory of cuda:%d; this thread's "
          "last operation there was %s\n",
          device,
          last_operation);
      if (write(STDERR_FILENO, text, size) < 0) _exit(1);
      void* frames[32];
      backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
    }
    sigaction(signal, &arena.before_, nullptr);  // and fault again
  }

  char* base_ = nullptr;
  char* view_ = nullptr;
  struct sigaction before_ = {};
  std::mutex opening_;
  std::mutex mutex_;  // of the rest
  Device devices_[kDevices];
  std::map<char*, Block> blocks_;
  std::list<std::pair<char*, Block>> in_use_;
};

}  // namespace

void* allocate_memory(int device, std::size_t bytes, cudaStream_t stream) {
  return Arena::get().allocate(device, bytes, stream);
}

void free_memory(void* pointer) {
  Arena::get().free(static_cast<char*>(pointer));
}

void record_use(void* pointer, cudaStream_t stream) {
  Arena::get().record(static_cast<char*>(pointer), stream);
}

int device_of_memory(const void* pointer) {
  return Arena::get().device_of(pointer);
}

std::size_t bytes_at(const void* pointer) {
  return Arena::get().bytes_at(pointer);
}

void* kernel_view(const void* pointer) {
  const Arena& arena = Arena::get();
  return arena.device_of(pointer) < 0 ? const_cast<void*>(pointer)
                                      : arena.view(pointer);
}

void* kernel_view_of(const void* pointer) {
  return kernel_view(pointer);
}

MemoryUse memory_use(int device) {
  return Arena::get().use(device);
}

void reset_peak(int device) {
  Arena::get().reset_peak(device);
}

OpenMemory::OpenMemory() {
  Arena::get().open();
}

OpenMemory::~OpenMemory() {
  Arena::get().close_again();
}

void set_last_operation(const char* name) {
  last_operation = name;
}

}  // namespace mumoe::fakes
