#pragma once

#include <cstdint>
#include <map>
#include <string>

// A GPU simulated in memory of the host, for LibTorch's CUDA key in a build
// without libtorch_cuda: production code runs as it is.
//
//  - Memory of the device is out of the host's reach: a read or a write by the
//    host ends the process, in a line that names the last operation on it
//    (sim_memory.h). New and freed memory is NaN, so that a result that nobody
//    wrote, or memory that was given back too early, shows.
//  - Streams are threads (fake_cuda_runtime.h): what the host queues runs
//    later, in the order of its stream and in no order else, unless an event
//    gives one (sim_device.cpp).
//  - Every operator runs as LibTorch's CPU kernel on that memory, and takes
//    tensors of one device only (sim_operators.cpp); kernels of the project's
//    .cu files are emulated (sim_launch.h).
//  - What a GPU would do is counted: kernels, copies, synchronisations, bytes.
//
// It cannot show what cuBLAS and cuDNN round, what ptxas does, and speed.

namespace mumoe::fakes {

/// What the simulated GPUs are; how many there are and when they run what they
/// are given: `FakeCuda`, `Lag`. At first as the environment has it, for the
/// whole program: SIM_GPU_MIB, SIM_GPU_COMPUTES (0: no), SIM_GPU_DEVICES,
/// SIM_GPU_LAG (microseconds), SIM_GPU_LAG_ONE_IN, SIM_GPU_SEED; the file
/// SIM_GPU_COUNTS gets the counts, and which GPUs have a context, when the
/// process ends: of each of several.
struct SimGpu {
  /// Bytes of each.
  std::int64_t memory = std::int64_t{8} << 30;
  /// Whether kernels run. If not they are counted alone: values are not
  /// there, so that a large model can be counted in no time.
  bool computes = true;
};
SimGpu& sim_gpu();

/// What the host has asked of all GPUs.
struct GpuCounts {
  std::int64_t operators = 0;  ///< Of LibTorch, and kernels of the project.
  std::int64_t kernels = 0;    ///< That CUDA would start for them.
  std::int64_t copies = 0;     ///< Between host and device.
  /// In which the host waits for a GPU.
  std::int64_t synchronisations = 0;
  std::int64_t bytes = 0;  ///< That kernels read and write, each once.
  struct Of {
    std::int64_t times = 0;
    std::int64_t bytes = 0;
  };
  /// Of each operator, project kernel or reason to wait.
  std::map<std::string, Of> by_name;
};

/// What was counted since the last call, of all threads.
GpuCounts take_gpu_counts();

/// Counts `operators` calls of `name`, which takes `kernels` and moves `bytes`.
void count_operator(const std::string& name,
                    std::int64_t kernels,
                    std::int64_t bytes);
void count_copy(const std::string& name);
void count_synchronisation(const std::string& name);

}  // namespace mumoe::fakes
