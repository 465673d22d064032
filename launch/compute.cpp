#include "launch/compute.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "base/cpu.h"
#include "base/error.h"

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
  return {dtype_of(options.precision), at::Device(at::kCPU)};
}

void replay_choices(Options& options,
                    const std::map<std::string, std::string>& settings) {
  const auto stored = settings.find("train.precision");
  if (options.precision != Precision::automatic || stored == settings.end()) {
    return;
  }
  options.precision = stored->second == "bf16"   ? Precision::bf16
                      : stored->second == "fp64" ? Precision::fp64
                                                 : Precision::fp32;
}

double measure_peak_flops(const Compute& compute, dist::Communicator& world) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kSize = 1024;
  constexpr int kRounds = 5;
  const auto options = at::TensorOptions(compute.dtype).device(compute.device);
  const at::Tensor a = at::ones({kSize, kSize}, options);
  at::Tensor c = at::mm(a, a);
  double best = 0;
  world.barrier();
  for (int round = 0; round < kRounds; ++round) {
    const auto start = Clock::now();
    at::mm_out(c, a, a);
    c[0][0].item<double>();  // waits for the device
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds.count());
  }
  const at::Tensor sum = at::full({1}, best, at::kDouble);
  world.all_reduce(sum);
  return sum.item<double>();
}

}  // namespace mumoe::launch
