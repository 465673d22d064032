#include "launch/compute.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "base/cpu.h"
#include "base/error.h"
#include "dist/nccl_communicator.h"
#include "dist/null_communicator.h"
#include "launch/option_table.h"

namespace mumoe::launch {
namespace {

at::ScalarType dtype_of(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return at::kBFloat16;
    case Precision::fp64:
      return at::kDouble;
    default:
      return at::kFloat;
  }
}

void choose_backend(BackendChoice& backend, DeviceKind device) {
  const bool gpu = device == DeviceKind::cuda;
  if (backend == BackendChoice::automatic) {
    backend = gpu ? BackendChoice::nccl : BackendChoice::mpi;
  }
  require(backend != BackendChoice::mpi || !gpu,
          "parallel.backend = mpi: it moves tensors of the CPU, and "
          "train.device is cuda; expected auto or nccl");
  require(backend != BackendChoice::nccl || gpu,
          "parallel.backend = nccl: it moves tensors of GPUs, and "
          "train.device is cpu; expected auto or mpi");
}

bool any_gpus(dist::Communicator& world, const dist::DevicePlace& place) {
  const at::Tensor most = at::full({1}, std::int64_t{place.visible}, at::kLong);
  world.all_reduce(most, dist::ReduceOp::max);
  return most.item<std::int64_t>() > 0;
}

// Precision `auto`.
Precision natural_precision(at::Device device, dist::Communicator& world) {
  const bool bf16 = device.is_cuda() || cpu_multiplies_bf16();
  const at::Tensor chosen = at::full({1}, bf16 ? 1 : 0, at::kLong);
  world.broadcast(chosen, 0);
  return chosen.item<std::int64_t>() == 1 ? Precision::bf16 : Precision::fp32;
}

}  // namespace

GpusHere gpus_here(int local_rank) {
  return {.compiled_in = dist::has_nccl(),
          .place = dist::device_place(local_rank)};
}

DeviceChoice choose_device(Options& options,
                           dist::Communicator& world,
                           const GpusHere& gpus) {
  auto& backend = options.parallel.backend;
  const bool automatic = options.device == DeviceKind::automatic;
  const bool demanded = options.device == DeviceKind::cuda ||
                        (automatic && backend == BackendChoice::nccl);
  const bool wanted = demanded || (automatic && backend != BackendChoice::mpi);
  const std::string fault =
      wanted ? dist::find_device_fault(world, gpus.place) : "";
  if (demanded && !fault.empty()) {
    const char* key = options.device == DeviceKind::cuda
                          ? "train.device = cuda: "
                          : "parallel.backend = nccl: ";
    require(gpus.compiled_in,
            key,
            "this build has no CUDA (launch/setup says what it lacks)");
    fail<InputError>(key, fault);
  }
  const bool gpu = wanted && fault.empty();
  options.device = gpu ? DeviceKind::cuda : DeviceKind::cpu;
  choose_backend(backend, options.device);
  require(options.parallel.link.empty() || !gpu,
          "parallel.link = ",
          options.parallel.link,
          ": the model of a link holds up the host, not a GPU; expected "
          "parallel.backend = mpi, or train.device = cpu");
  if (gpu) {
    const auto index = static_cast<at::DeviceIndex>(gpus.place.device);
    return {at::Device(at::kCUDA, index)};
  }
  const bool some = !fault.empty() && any_gpus(world, gpus.place);
  return {at::kCPU, some ? "GPUs are not used: " + fault : ""};
}

DataCommunicator make_data_communicator(const Options& options,
                                        dist::Communicator& world,
                                        at::Device device) {
  const ParallelOptions& parallel = options.parallel;
  if (parallel.backend == BackendChoice::null && device.is_cuda()) {
    return {dist::make_null_communicator(
        {.dp = parallel.dp, .tp = parallel.tp, .rank = world.rank()},
        device)};
  }
  if (parallel.backend != BackendChoice::nccl) return {};
  auto nccl = dist::make_nccl_communicator(world, device.index());
  return {std::move(nccl.communicator),
          std::move(nccl.async_error),
          std::move(nccl.abort)};
}

Compute choose_compute(Options& options,
                       dist::Communicator& world,
                       at::Device device) {
  if (options.precision == Precision::automatic) {
    options.precision = natural_precision(device, world);
  }
  if (options.gemm == GemmChoice::automatic) {
    const at::Tensor chosen =
        at::full({1}, static_cast<int>(fastest_gemm_library()), at::kLong);
    world.broadcast(chosen, 0);
    options.gemm = static_cast<GemmLibrary>(chosen.item<std::int64_t>()) ==
                           GemmLibrary::mkl
                       ? GemmChoice::mkl
                       : GemmChoice::onednn;
  }
  options.model.gemm =
      options.gemm == GemmChoice::mkl ? GemmLibrary::mkl : GemmLibrary::onednn;
  return {dtype_of(options.precision), device};
}

void replay_choices(Options& options,
                    const std::map<std::string, std::string>& settings) {
  const auto replay = [&](const char* name) {
    const Key* key = find_key(name);
    const auto stored = settings.find(name);
    if (key->get(options) == "auto" && stored != settings.end()) {
      key->set(options, stored->second);
    }
  };
  replay("train.precision");
  replay("train.gemm");
  // A plan is chosen for a number of ranks.
  const auto tp = settings.find("parallel.tp");
  if (tp != settings.end() &&
      tp->second == std::to_string(options.parallel.tp)) {
    replay("parallel.plan");
  }
}

double measure_peak_flops(const Compute& compute,
                          GemmLibrary gemm,
                          dist::Communicator& world) {
  using Clock = std::chrono::steady_clock;
  // Large enough for the device to be busy, and a few milliseconds.
  const std::int64_t size = compute.device.is_cuda() ? 8192 : 1024;
  constexpr int kRounds = 5;
  const auto options = at::TensorOptions(compute.dtype).device(compute.device);
  const at::Tensor a = at::ones({size, size}, options);
  const at::Tensor c = mm(a, a, gemm);
  double best = 0;
  world.barrier();
  for (int round = 0; round < kRounds; ++round) {
    const auto start = Clock::now();
    mm_into(c, a, a, false, gemm);
    c[0][0].item<double>();  // waits for the device
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::max(best, 2.0 * size * size * size / seconds.count());
  }
  // A rank that is alone in a null world finds its own rate as the mean.
  const at::Tensor mean = at::full({1}, best, at::kDouble);
  world.all_reduce(mean, dist::ReduceOp::avg);
  return world.size() * mean.item<double>();
}

}  // namespace mumoe::launch
