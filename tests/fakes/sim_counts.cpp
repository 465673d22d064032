#include <mutex>
#include <utility>

#include "tests/fakes/sim_gpu.h"

namespace mumoe::fakes {
namespace {

std::mutex mutex;
GpuCounts counts;

}  // namespace

SimGpu& sim_gpu() {
  static auto& gpu = *new SimGpu;
  return gpu;
}

GpuCounts take_gpu_counts() {
  const std::lock_guard lock(mutex);
  return std::exchange(counts, {});
}

void count_operator(const std::string& name,
                    std::int64_t kernels,
                    std::int64_t bytes) {
  const std::lock_guard lock(mutex);
  ++counts.operators;
  counts.kernels += kernels;
  counts.bytes += bytes;
  ++counts.by_name[name];
}

void count_copy(const std::string& name) {
  const std::lock_guard lock(mutex);
  ++counts.copies;
  ++counts.by_name[name];
}

void count_synchronisation(const std::string& name) {
  const std::lock_guard lock(mutex);
  ++counts.synchronisations;
  ++counts.by_name["wait: " + name];
}

}  // namespace mumoe::fakes
