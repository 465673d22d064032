#include "tests/fakes/sim_gpu.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "tests/fakes/fake_cuda_runtime.h"

namespace mumoe::fakes {
namespace {

std::mutex mutex;
GpuCounts& counts() {
  static auto& of_process = *new GpuCounts;
  return of_process;
}

std::int64_t number(const char* variable, std::int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoll(text);
}

const char* counts_file() {
  return std::getenv("SIM_GPU_COUNTS");
}

void write_counts() {
  std::FILE* file = std::fopen(counts_file(), "a");
  if (file == nullptr) return;
  const GpuCounts all = take_gpu_counts();
  std::fprintf(file,
               "operators %lld\nkernels %lld\ncopies %lld\nwaits %lld\n"
               "bytes %lld\n",
               static_cast<long long>(all.operators),
               static_cast<long long>(all.kernels),
               static_cast<long long>(all.copies),
               static_cast<long long>(all.synchronisations),
               static_cast<long long>(all.bytes));
  for (const int device : devices_with_contexts()) {
    std::fprintf(file, "context on %d\n", device);
  }
  for (const auto& [name, of] : all.by_name) {
    std::fprintf(file,
                 "%8lld %14lld %s\n",
                 static_cast<long long>(of.times),
                 static_cast<long long>(of.bytes),
                 name.c_str());
  }
  std::fclose(file);
}

SimGpu& from_environment() {
  auto& gpu = *new SimGpu;
  gpu.memory = number("SIM_GPU_MIB", gpu.memory >> 20) << 20;
  gpu.computes = number("SIM_GPU_COMPUTES", 1) != 0;
  auto& addresses = fake_cuda().addresses;
  const auto devices = number("SIM_GPU_DEVICES", addresses.size());
  addresses.resize(static_cast<std::size_t>(devices));
  Lag& lag = stream_lag();
  lag.microseconds = number("SIM_GPU_LAG", lag.microseconds);
  lag.one_in = number("SIM_GPU_LAG_ONE_IN", lag.one_in);
  lag.seed = static_cast<std::uint64_t>(number("SIM_GPU_SEED", 1));
  if (counts_file() != nullptr) std::atexit(&write_counts);
  return gpu;
}

// Before main, so that the program finds what the environment says.
const SimGpu& at_start = sim_gpu();

}  // namespace

SimGpu& sim_gpu() {
  static auto& gpu = from_environment();
  return gpu;
}

GpuCounts take_gpu_counts() {
  const std::lock_guard lock(mutex);
  return std::exchange(counts(), {});
}

void count_operator(const std::string& name,
                    std::int64_t kernels,
                    std::int64_t bytes) {
  const std::lock_guard lock(mutex);
  GpuCounts& all = counts();
  ++all.operators;
  all.kernels += kernels;
  all.bytes += bytes;
  auto& of = all.by_name[name];
  ++of.times;
  of.bytes += bytes;
}

void count_copy(const std::string& name) {
  const std::lock_guard lock(mutex);
  GpuCounts& all = counts();
  ++all.copies;
  ++all.by_name[name].times;
}

void count_synchronisation(const std::string& name) {
  const std::lock_guard lock(mutex);
  GpuCounts& all = counts();
  ++all.synchronisations;
  ++all.by_name["wait: " + name].times;
}

}  // namespace mumoe::fakes
