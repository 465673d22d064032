#include "launch/device_choice.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"
#include "dist/null_communicator.h"

namespace mumoe::launch {
namespace {

void choose_backend(run::BackendChoice& backend, run::DeviceKind device) {
  const bool gpu = device == run::DeviceKind::cuda;
  if (backend == run::BackendChoice::automatic) {
    backend = gpu ? run::BackendChoice::nccl : run::BackendChoice::mpi;
  }
  require(backend != run::BackendChoice::mpi || !gpu,
          "parallel.backend = mpi: it moves tensors of the CPU, and "
          "train.device is cuda; expected auto or nccl");
  require(backend != run::BackendChoice::nccl || gpu,
          "parallel.backend = nccl: it moves tensors of GPUs, and train.device "
          "is cpu; expected auto or mpi");
}

bool any_gpus(dist::Communicator& world, const dist::DevicePlace& place) {
  const at::Tensor most = at::full({1}, std::int64_t{place.visible}, at::kLong);
  world.all_reduce(most, dist::ReduceOp::max);
  return most.item<std::int64_t>() > 0;
}

}  // namespace

GpusHere gpus_here(int local_rank) {
  return {.compiled_in = dist::has_nccl(),
          .place = dist::device_place(local_rank)};
}

DeviceChoice choose_device(run::Options& options,
                           dist::Communicator& world,
                           const GpusHere& gpus) {
  auto& backend = options.parallel.backend;
  const bool automatic = options.device == run::DeviceKind::automatic;
  const bool demanded = options.device == run::DeviceKind::cuda ||
                        (automatic && backend == run::BackendChoice::nccl);
  const bool wanted =
      demanded || (automatic && backend != run::BackendChoice::mpi);
  const std::string fault =
      wanted ? dist::find_device_fault(world, gpus.place) : "";
  if (demanded && !fault.empty()) {
    const char* key = options.device == run::DeviceKind::cuda
                          ? "train.device = cuda: "
                          : "parallel.backend = nccl: ";
    require(gpus.compiled_in,
            "{}this build has no CUDA (launch/setup says what it lacks)",
            key);
    fail<InputError>("{}{}", key, fault);
  }
  const bool gpu = wanted && fault.empty();
  options.device = gpu ? run::DeviceKind::cuda : run::DeviceKind::cpu;
  choose_backend(backend, options.device);
  require(options.parallel.link.empty() || !gpu,
          "parallel.link = {}: the model of a link holds up the host, not a "
          "GPU; expected parallel.backend = mpi, or train.device = cpu",
          options.parallel.link);
  if (gpu) {
    const auto index = static_cast<at::DeviceIndex>(gpus.place.device);
    return {at::Device(at::kCUDA, index)};
  }
  const bool some = !fault.empty() && any_gpus(world, gpus.place);
  return {at::kCPU, some ? "GPUs are not used: " + fault : ""};
}

DataCommunicator make_data_communicator(const run::Options& options,
                                        dist::Communicator& world,
                                        at::Device device) {
  const run::ParallelOptions& parallel = options.parallel;
  if (parallel.backend == run::BackendChoice::null && device.is_cuda()) {
    return {dist::make_null_communicator(
        {.dp = parallel.dp, .tp = parallel.tp, .rank = world.rank()},
        device)};
  }
  if (parallel.backend != run::BackendChoice::nccl) return {};
  auto nccl = dist::make_nccl_communicator(world, device.index());
  return {std::move(nccl.communicator),
          std::move(nccl.async_error),
          std::move(nccl.abort)};
}

}  // namespace mumoe::launch
