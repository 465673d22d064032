#include "launch/compute.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "base/cpu.h"
#include "base/error.h"
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

}  // namespace

Compute choose_compute(Options& options, dist::Communicator& world) {
  require(options.device != DeviceKind::cuda,
          "train.device = cuda: this version computes on CPUs, expected auto "
          "or cpu");
  options.device = DeviceKind::cpu;
  if (options.precision == Precision::automatic) {
    const at::Tensor chosen =
        at::full({1}, cpu_multiplies_bf16() ? 1 : 0, at::kLong);
    world.broadcast(chosen, 0);
    options.precision =
        chosen.item<std::int64_t>() == 1 ? Precision::bf16 : Precision::fp32;
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
  return {dtype_of(options.precision), at::Device(at::kCPU)};
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
}

double measure_peak_flops(const Compute& compute,
                          GemmLibrary gemm,
                          dist::Communicator& world) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kSize = 1024;
  constexpr int kRounds = 5;
  const auto options = at::TensorOptions(compute.dtype).device(compute.device);
  const at::Tensor a = at::ones({kSize, kSize}, options);
  const at::Tensor c = mm(a, a, gemm);
  double best = 0;
  world.barrier();
  for (int round = 0; round < kRounds; ++round) {
    const auto start = Clock::now();
    mm_into(c, a, a, false, gemm);
    c[0][0].item<double>();  // waits for the device
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds.count());
  }
  const at::Tensor sum = at::full({1}, best, at::kDouble);
  world.all_reduce(sum);
  return sum.item<double>();
}

}  // namespace mumoe::launch
