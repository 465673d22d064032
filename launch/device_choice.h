#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "dist/communicator.h"
#include "dist/nccl/device_places.h"
#include "run/options.h"

namespace mumoe::launch {

/// What a rank has to choose its device from.
struct GpusHere {
  bool compiled_in = false;      ///< Whether this build has CUDA.
  dist::DevicePlace place = {};  ///< The one that would be its own.
};
/// Those of this process, the rank of number `local_rank` on its host.
GpusHere gpus_here(int local_rank);

/// A device and what moves tensors there, neither of them `auto`.
struct DeviceChoice {
  at::Device device;
  run::BackendChoice backend;
  /// Why it is not a GPU where there are some: a line, or empty.
  std::string note = {};

  run::DeviceKind kind() const {
    return device.is_cuda() ? run::DeviceKind::cuda : run::DeviceKind::cpu;
  }
};
/// Settles `auto` for the device and for the backend that moves the run's
/// tensors: GPUs where every rank has one of its own, by NCCL, else the CPU, by
/// MPI. Throws `InputError`, the same on all
/// ranks, for a device that some rank has not or shares, and for a backend that
/// does not move the device's tensors. Collective over the ranks that are there
/// (in a null world: one).
DeviceChoice choose_device(const run::Options& options,
                           dist::Communicator& world,
                           const GpusHere& gpus);

/// Makes it this thread's, where it is a GPU: before the first tensor on it.
/// Throws `CommunicationError` with CUDA's text.
void use_device(at::Device device);

/// The GPU of a process that is alone, made this thread's, which adds as a
/// run's does by default. Throws `InputError` that begins with `what` where it
/// has none.
at::Device own_gpu(const std::string& what);

/// What moves the run's tensors, or seems to, where `world` does not.
struct DataCommunicator {
  /// The same ranks; null where `world` moves them itself.
  std::unique_ptr<dist::Communicator> group = nullptr;
  /// For a watchdog: see `dist::NcclWorld`. Empty where there is none.
  std::function<std::string()> async_error = {};
  std::function<bool(const std::string&, std::chrono::milliseconds)> abort = {};
};
/// The communicator of the backend that was chosen. Collective over `world`,
/// with its deadline. Throws `InputError` when ranks share a GPU.
DataCommunicator make_data_communicator(const run::ParallelOptions& options,
                                        const DeviceChoice& chosen,
                                        dist::Communicator& world);

}  // namespace mumoe::launch
