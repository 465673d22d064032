#include "tests/fakes/fake_cuda_runtime.h"

#include <cuda_runtime_api.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>

namespace {

std::mutex failure_mutex;
std::string first_failure;

std::atomic<std::uint64_t> streams{0};

// Where a stream was when an event was recorded in it.
struct Point {
  void arrive() {
    time = std::chrono::steady_clock::now();
    arrival.set_value();
  }

  std::chrono::steady_clock::time_point time;  // of arrival
  std::promise<void> arrival;
  std::shared_future<void> reached = arrival.get_future().share();
};

// Shared by its thread, which runs what is left after the stream has gone.
struct Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work;
  bool closed = false;

  /// `number`: which of the process's streams this is.
  void run(std::uint64_t number) {
    std::mt19937_64 random;
    std::optional<std::uint64_t> seed;
    for (;;) {
      std::function<void()> next;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return closed || !work.empty(); });
        if (work.empty()) return;
        next = std::move(work.front());
        work.pop_front();
      }
      if (seed != mumoe::fakes::stream_lag().seed) {
        seed = mumoe::fakes::stream_lag().seed;
        random.seed(*seed + number);
      }
      lag(random);
      try {
        next();
      } catch (const std::exception& error) {
        const std::lock_guard lock(failure_mutex);
        if (first_failure.empty()) first_failure = error.what();
      }
    }
  }

  static void lag(std::mt19937_64& random) {
    const auto& lag = mumoe::fakes::stream_lag();
    const std::int64_t most = lag.microseconds;
    if (most == 0 || random() % static_cast<std::uint64_t>(lag.one_in) != 0) {
      return;
    }
    std::this_thread::sleep_for(
        std::chrono::microseconds(random() % static_cast<std::uint64_t>(most)));
  }
};

thread_local int current_device = 0;

std::mutex contexts_mutex;
std::set<int> contexts;

void make_context(int device) {
  const std::lock_guard lock(contexts_mutex);
  contexts.insert(device);
}

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t found(cudaError_t code) {
  if (code != cudaSuccess) last_error = code;
  return code;
}

cudaError_t enter(const char* function) {
  const auto& cuda = mumoe::fakes::fake_cuda();
  return found(cuda.failing == function ? cuda.failure : cudaSuccess);
}

}  // namespace

// What the handles of CUDA point to.
struct CUstream_st {
  std::shared_ptr<Queue> queue = std::make_shared<Queue>();
};
struct CUevent_st {
  bool timed = false;
  std::shared_ptr<Point> point;
};

namespace mumoe::fakes {

FakeCuda& fake_cuda() {
  static FakeCuda cuda;
  return cuda;
}

Lag& stream_lag() {
  static auto& lag = *new Lag;
  return lag;
}

cudaStream_t make_stream() {
  auto* stream = new CUstream_st;
  std::thread([queue = stream->queue, number = ++streams] {
    queue->run(number);
  }).detach();
  return stream;
}

std::string take_failure() {
  const std::lock_guard lock(failure_mutex);
  return std::exchange(first_failure, {});
}

std::set<int> devices_with_contexts() {
  const std::lock_guard lock(contexts_mutex);
  return contexts;
}

void forget_contexts() {
  const std::lock_guard lock(contexts_mutex);
  contexts.clear();
}

void need_context() {
  make_context(current_device);
}

void push(cudaStream_t stream, std::function<void()> work) {
  if (stream == kHostStream) {
    work();
    return;
  }
  const std::lock_guard lock(stream->queue->mutex);
  stream->queue->work.push_back(std::move(work));
  stream->queue->changed.notify_one();
}

void synchronize(cudaStream_t stream) {
  auto point = std::make_shared<Point>();
  push(stream, [point] { point->arrive(); });
  point->reached.wait();
}

}  // namespace mumoe::fakes

#define ENTER(function) \
  if (const cudaError_t code = enter(function); code != cudaSuccess) return code
#define ENTER_CONTEXT(function) \
  mumoe::fakes::need_context(); \
  ENTER(function)

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  ENTER("cudaGetDeviceCount");
  *count = static_cast<int>(mumoe::fakes::fake_cuda().addresses.size());
  return found(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int* version) {
  ENTER("cudaDriverGetVersion");
  *version = mumoe::fakes::fake_cuda().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  ENTER("cudaRuntimeGetVersion");
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  ENTER("cudaDeviceGetPCIBusId");
  const auto& addresses = mumoe::fakes::fake_cuda().addresses;
  if (device < 0 || device >= static_cast<int>(addresses.size())) {
    return found(cudaErrorInvalidDevice);
  }
  std::strncpy(text, addresses[device].c_str(), size - 1);
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  ENTER("cudaGetDeviceProperties");
  const auto& addresses = mumoe::fakes::fake_cuda().addresses;
  if (device < 0 || device >= static_cast<int>(addresses.size())) {
    return found(cudaErrorInvalidDevice);
  }
  *properties = {};
  std::strcpy(properties->name, "a GPU of host memory");
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  ENTER("cudaGetDevice");
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  ENTER("cudaSetDevice");
  const auto& addresses = mumoe::fakes::fake_cuda().addresses;
  if (device < 0 || device >= static_cast<int>(addresses.size())) {
    return found(cudaErrorInvalidDevice);
  }
  current_device = device;
  make_context(device);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  ENTER_CONTEXT("cudaStreamCreateWithFlags");
  *stream = mumoe::fakes::make_stream();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  ENTER_CONTEXT("cudaStreamDestroy");
  {
    const std::lock_guard lock(stream->queue->mutex);
    stream->queue->closed = true;
    stream->queue->changed.notify_one();
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream,
                                cudaEvent_t event,
                                unsigned int) {
  ENTER_CONTEXT("cudaStreamWaitEvent");
  const bool forgotten = mumoe::fakes::fake_cuda().forgets_waits;
  if (event->point == nullptr || forgotten) return cudaSuccess;
  mumoe::fakes::push(stream, [point = event->point] { point->reached.wait(); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  ENTER_CONTEXT("cudaEventCreateWithFlags");
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  ENTER_CONTEXT("cudaEventDestroy");
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  ENTER_CONTEXT("cudaEventRecord");
  event->point = std::make_shared<Point>();
  mumoe::fakes::push(stream, [point = event->point] { point->arrive(); });
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  ENTER_CONTEXT("cudaEventQuery");
  if (event->point == nullptr) return cudaSuccess;
  const auto state =
      event->point->reached.wait_for(std::chrono::microseconds(0));
  return found(state == std::future_status::ready ? cudaSuccess
                                                  : cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ENTER_CONTEXT("cudaEventSynchronize");
  if (event->point != nullptr) event->point->reached.wait();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  ENTER_CONTEXT("cudaEventElapsedTime");
  if (!from->timed || !to->timed || from->point == nullptr ||
      to->point == nullptr) {
    return found(cudaErrorInvalidResourceHandle);
  }
  if (cudaEventQuery(from) != cudaSuccess ||
      cudaEventQuery(to) != cudaSuccess) {
    return cudaErrorNotReady;
  }
  const std::chrono::duration<float, std::milli> since =
      to->point->time - from->point->time;
  *ms = since.count();
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t) {
  return "cudaErrorOfTheFake";
}

const char* cudaGetErrorString(cudaError_t) {
  return "CUDA's text";
}

}  // extern "C"
