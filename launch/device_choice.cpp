#include "launch/device_choice.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"
#include "dist/null_communicator.h"
#include "dist/self_communicator.h"
#include "launch/gpu_arithmetic.h"

namespace mumoe::launch {
namespace {

run::BackendChoice choose_backend(run::BackendChoice asked, bool gpu) {
  using enum run::BackendChoice;
  require(asked != mpi || !gpu,
          "parallel.backend = mpi: it moves tensors of the CPU, and "
          "train.device is cuda; expected auto or nccl");
  require(asked != nccl || gpu,
          "parallel.backend = nccl: it moves tensors of GPUs, and train.device "
          "is cpu; expected auto or mpi");
  if (asked != automatic) return asked;
  return gpu ? nccl : mpi;
}

/// Whether some rank sees GPUs, or would if CUDA let it.
bool any_gpus(dist::Communicator& world, const dist::DevicePlace& place) {
  const bool here = place.visible > 0 || !place.fault.empty();
  const at::Tensor most = at::full({1}, std::int64_t{here}, at::kLong);
  world.all_reduce(most, dist::ReduceOp::max);
  return most.item<std::int64_t>() > 0;
}

}  // namespace

GpusHere gpus_here(int local_rank) {
  return {.compiled_in = dist::has_nccl(),
          .place = dist::device_place(local_rank)};
}

DeviceChoice choose_device(const run::Options& options,
                           dist::Communicator& world,
                           const GpusHere& gpus) {
  const auto asked = options.parallel.backend;
  const bool automatic = options.device == run::DeviceKind::automatic;
  const bool demanded = options.device == run::DeviceKind::cuda ||
                        (automatic && asked == run::BackendChoice::nccl);
  const bool wanted =
      demanded || (automatic && asked != run::BackendChoice::mpi);
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
  const auto backend = choose_backend(asked, gpu);
  require(options.parallel.link.empty() || !gpu,
          "parallel.link = {}: the model of a link holds up the host, not a "
          "GPU; expected parallel.backend = mpi, or train.device = cpu",
          options.parallel.link);
  if (gpu) {
    const auto index = static_cast<at::DeviceIndex>(gpus.place.device);
    return {at::Device(at::kCUDA, index), backend};
  }
  const bool some = !fault.empty() && any_gpus(world, gpus.place);
  return {at::kCPU, backend, some ? "GPUs are not used: " + fault : ""};
}

void use_device(at::Device device) {
  if (device.is_cuda()) dist::use_gpu(device.index());
}

at::Device own_gpu(const std::string& what) {
  const GpusHere gpus = gpus_here(/*local_rank=*/0);
  require(gpus.compiled_in,
          "{}: this build has no CUDA (launch/setup says what it lacks)",
          what);
  const auto self = dist::make_self_communicator(at::kCPU);
  const std::string fault = dist::find_device_fault(*self, gpus.place);
  require(fault.empty(), "{}: {}", what, fault);
  const at::Device device(at::kCUDA,
                          static_cast<at::DeviceIndex>(gpus.place.device));
  use_device(device);
  set_gpu_arithmetic(/*deterministic=*/true);
  return device;
}

DataCommunicator make_data_communicator(const run::ParallelOptions& options,
                                        const DeviceChoice& chosen,
                                        dist::Communicator& world) {
  if (chosen.backend == run::BackendChoice::null && chosen.device.is_cuda()) {
    return {dist::make_null_communicator(
        {.dp = options.dp, .tp = options.tp, .rank = world.rank()},
        chosen.device)};
  }
  if (chosen.backend != run::BackendChoice::nccl) return {};
  auto nccl = dist::make_nccl_communicator(world, chosen.device.index());
  return {std::move(nccl.communicator),
          std::move(nccl.async_error),
          std::move(nccl.abort)};
}

}  // namespace mumoe::launch
