#include "tests/fakes/sim_device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>

#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/sim_gpu.h"
#include "tests/fakes/sim_kernels.h"
#include "tests/fakes/sim_launch_queue.h"
#include "tests/fakes/sim_memory.h"

namespace mumoe::fakes {
namespace {

constexpr int kDevices = 8;

at::Device gpu(int index) {
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

int current() {
  int index = 0;
  cudaGetDevice(&index);
  return index;
}

void make_current(int index) {
  TORCH_CHECK(cudaSetDevice(index) == cudaSuccess,
              "simulated GPU: there is no cuda:",
              index);
}

// A stream of the fake runtime is LibTorch's by its address; the default one
// of a device is 0.
cudaStream_t default_stream(int index) {
  static auto& streams = *[] {
    auto* made = new std::array<cudaStream_t, kDevices>;
    for (cudaStream_t& stream : *made) stream = make_stream();
    return made;
  }();
  return streams[index];
}

thread_local std::array<cudaStream_t, kDevices> streams_of_thread{};

cudaStream_t handle_of(const c10::Stream& stream) {
  if (stream.id() == 0) return default_stream(stream.device_index());
  return reinterpret_cast<cudaStream_t>(stream.id());
}

c10::Stream stream_for(int index, cudaStream_t handle) {
  const auto id = handle == default_stream(index)
                      ? 0
                      : reinterpret_cast<c10::StreamId>(handle);
  return c10::Stream(c10::Stream::UNSAFE, gpu(index), id);
}

void settle(cudaStream_t stream) {
  synchronize(stream);
  const std::string failure = take_failure();
  TORCH_CHECK(failure.empty(), "simulated GPU: ", failure);
}

void wait_for(cudaStream_t stream, const char* name) {
  count_synchronisation(name);
  settle(stream);
}

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const int index = current();
    if (bytes == 0) return {nullptr, nullptr, &release, gpu(index)};
    void* at = allocate_memory(index, bytes, stream_of_thread(index));
    TORCH_CHECK_WITH(OutOfMemoryError,
                     at != nullptr,
                     "CUDA out of memory. Tried to allocate ",
                     bytes >> 20,
                     ".00 MiB. GPU ",
                     index,
                     " has a total capacity of ",
                     sim_gpu().memory >> 20,
                     ".00 MiB");
    report(at, static_cast<std::int64_t>(bytes_at(at)));
    return {at, at, &release, gpu(index)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    queue_work(gpu(current()),
               [=] { std::memcpy(kernel_view(to), kernel_view(from), bytes); });
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr& data, c10::Stream stream) override {
    record_use(data.get(), handle_of(stream));
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(
      c10::DeviceIndex index) override {
    const MemoryUse use = memory_use(index);
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].current = static_cast<std::int64_t>(use.allocated);
    stats.allocated_bytes[0].peak = static_cast<std::int64_t>(use.peak);
    stats.reserved_bytes[0].current = static_cast<std::int64_t>(use.reserved);
    stats.reserved_bytes[0].peak = static_cast<std::int64_t>(use.reserved);
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex index) override { reset_peak(index); }
  std::pair<std::size_t, std::size_t> getMemoryInfo(
      c10::DeviceIndex index) override {
    const auto all = static_cast<std::size_t>(sim_gpu().memory);
    return {all - memory_use(index).allocated, all};
  }

 private:
  static void release(void* at) {
    if (at == nullptr) return;
    report(at, -static_cast<std::int64_t>(bytes_at(at)));
    free_memory(at);
  }
  /// To profilers, as CUDA's allocator does.
  static void report(void* at, std::int64_t bytes) {
    const int index = device_of_memory(at);
    const MemoryUse use = memory_use(index);
    c10::reportMemoryUsageToProfiler(at,
                                     bytes,
                                     use.allocated,
                                     use.reserved,
                                     gpu(index));
  }
};

Allocator& allocator() {
  static auto& made = *new Allocator;
  return made;
}

const bool set = [] {
  c10::SetAllocator(c10::kCUDA, &allocator(), /*priority=*/1);
  return true;
}();

// Of the host, registered with the device: copies from and to it are late.
class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* at = bytes == 0 ? nullptr : ::operator new(bytes);
    const std::lock_guard lock(mutex_);
    if (at != nullptr) blocks_.insert({static_cast<char*>(at), bytes});
    return {at, at, &release, at::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  bool holds(const void* pointer) {
    const auto* at = static_cast<const char*>(pointer);
    const std::lock_guard lock(mutex_);
    auto above = blocks_.upper_bound(const_cast<char*>(at));
    if (above == blocks_.begin()) return false;
    --above;
    return at < above->first + above->second;
  }

 private:
  // CUDA's keeps it until the copies that were queued have run.
  static void release(void* at);

  std::mutex mutex_;
  std::map<char*, std::size_t> blocks_;
};

PinnedAllocator& pinned() {
  static auto& made = *new PinnedAllocator;
  return made;
}

void PinnedAllocator::release(void* at) {
  if (at == nullptr) return;
  for (int d = 0; d < static_cast<int>(fake_cuda().addresses.size()); ++d) {
    synchronize(default_stream(d));
  }
  const std::lock_guard lock(pinned().mutex_);
  pinned().blocks_.erase(static_cast<char*>(at));
  ::operator delete(at);
}

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const int before = current();
    if (device.index() >= 0) make_current(device.index());
    return gpu(before);
  }
  c10::Device getDevice() const override { return gpu(current()); }
  void setDevice(c10::Device device) const override {
    make_current(device.index());
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    cudaSetDevice(device.index());
  }
  c10::Stream getStream(c10::Device device) const override {
    const int index = device.index() < 0 ? current() : device.index();
    return stream_for(index, stream_of_thread(index));
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    const int index = device.index() < 0 ? current() : device.index();
    return stream_for(index, default_stream(index));
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const int index = stream.device_index();
    return stream_for(index,
                      exchange_stream_of_thread(index, handle_of(stream)));
  }
  void* getStreamNativeHandle(const c10::Stream stream) const override {
    return handle_of(stream);
  }
  void destroyEvent(void* event,
                    const c10::DeviceIndex) const noexcept override {
    if (event != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(event));
  }
  void record(void** event,
              const c10::Stream& stream,
              const c10::DeviceIndex,
              const c10::EventFlag) const override {
    if (*event == nullptr) {
      cudaEvent_t made = nullptr;
      cudaEventCreateWithFlags(&made, cudaEventDisableTiming);
      *event = made;
    }
    cudaEventRecord(static_cast<cudaEvent_t>(*event), handle_of(stream));
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event == nullptr) return;
    cudaStreamWaitEvent(handle_of(stream), static_cast<cudaEvent_t>(event), 0);
  }
  bool queryEvent(void* event) const override {
    return event == nullptr ||
           cudaEventQuery(static_cast<cudaEvent_t>(event)) == cudaSuccess;
  }
  bool queryStream(const c10::Stream& stream) const override {
    void* event = nullptr;
    record(&event, stream, 0, c10::EventFlag::PYTORCH_DEFAULT);
    const bool reached = queryEvent(event);
    destroyEvent(event, 0);
    return reached;
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    wait_for(handle_of(stream), "stream");
  }
  void synchronizeEvent(void* event) const override {
    if (event == nullptr) return;
    count_synchronisation("event");
    cudaEventSynchronize(static_cast<cudaEvent_t>(event));
  }
  void synchronizeDevice(const c10::DeviceIndex index) const override {
    wait_for(default_stream(index), "device");
  }
  void recordDataPtrOnStream(const c10::DataPtr& data,
                             const c10::Stream& stream) const override {
    allocator().recordStream(data, stream);
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(fake_cuda().addresses.size());
  }
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

}  // namespace

cudaStream_t stream_of_thread(int index) {
  cudaStream_t stream = streams_of_thread[index];
  return stream == nullptr ? default_stream(index) : stream;
}

cudaStream_t exchange_stream_of_thread(int index, cudaStream_t stream) {
  cudaStream_t before = stream_of_thread(index);
  streams_of_thread[index] = stream;
  return before;
}

c10::Allocator& sim_allocator() {
  return allocator();
}

void queue_work(at::Device device, std::function<void()> work) {
  // As CUDA has it: each operation has ended when its call returns.
  static const bool blocking = [] {
    const char* value = std::getenv("CUDA_LAUNCH_BLOCKING");
    return value != nullptr && std::string_view(value) == "1";
  }();
  if (!sim_gpu().computes) return;
  cudaStream_t stream = stream_of_thread(device.index());
  push(stream, std::move(work));
  if (blocking) settle(stream);
}

void settle_stream(at::Device device) {
  settle(stream_of_thread(device.index()));
}

void wait_for_stream(at::Device device, const char* name) {
  wait_for(stream_of_thread(device.index()), name);
}

namespace {

/// What a kernel with these arguments reads and writes. An operand is the block
/// of memory that it begins: what lies inside of one (a weight in its bucket, a
/// row's sum) is small, and left out.
std::int64_t bytes_of_operands(const char* name,
                               const std::vector<const void*>& words) {
  std::int64_t bytes = 0;
  int operand = -1;
  for (const void* word : words) {
    if (device_of_memory(word) < 0) continue;
    ++operand;
    bytes +=
        static_cast<std::int64_t>(bytes_at(word)) * passes_over(name, operand);
  }
  return bytes;
}

}  // namespace

void queue_kernel(const char* name,
                  void* stream,
                  const std::vector<const void*>& words,
                  std::function<void()> kernel) {
  count_operator(name, /*kernels=*/1, bytes_of_operands(name, words));
  set_last_operation(name);
  if (!sim_gpu().computes) return;
  push(static_cast<cudaStream_t>(stream), [kernel = std::move(kernel)] {
    const OpenMemory open;
    kernel();
  });
}

}  // namespace mumoe::fakes

namespace at {

struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return deviceCount() > 0; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override {
    return static_cast<DeviceIndex>(mumoe::fakes::fake_cuda().addresses.size());
  }
  DeviceIndex current_device() const override {
    return static_cast<DeviceIndex>(mumoe::fakes::current());
  }
  // Numbers that are drawn on a device are the host's.
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    static const Generator host = detail::createCPUGenerator();
    return host;
  }
  int getNumGPUs() const override { return deviceCount(); }
  Device getDeviceFromPtr(void* data) const override {
    return mumoe::fakes::gpu(mumoe::fakes::device_of_memory(data));
  }
  bool isPinnedPtr(const void* data) const override {
    return mumoe::fakes::pinned().holds(data);
  }
  Allocator* getPinnedMemoryAllocator() const override {
    return &mumoe::fakes::pinned();
  }
  Allocator* getCUDADeviceAllocator() const override {
    return &mumoe::fakes::allocator();
  }
};
REGISTER_CUDA_HOOKS(CUDAHooks);

}  // namespace at
