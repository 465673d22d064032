#include "launch/null_run.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/error.h"
#include "dist/null_communicator.h"

namespace mumoe::launch {
namespace {

constexpr double kMib = 1 << 20;

/// The largest size of this process so far.
double peak_resident_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;  // given in KiB
}

/// The most that tensors have held of a GPU so far; empty on the CPU.
std::string describe_gpu_peak(at::Device device) {
  if (!device.is_cuda()) return {};
  constexpr auto kAll =
      static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats =
      at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return fmt::format(
      "; GPU at most {:.1f} MiB",
      static_cast<double>(stats.allocated_bytes[kAll].peak) / kMib);
}

}  // namespace

std::unique_ptr<dist::Communicator> make_null_world(const run::Options& options,
                                                    int processes) {
  const run::ParallelOptions& parallel = options.parallel;
  require(parallel.dp >= 1 && parallel.tp >= 1,
          "parallel.backend = null: expected parallel.dp and parallel.tp, the "
          "mesh of which one rank runs");
  require(
      processes == 1,
      "parallel.backend = null: {} ranks were started; expected one process",
      processes);
  require(options.trainer.out.empty() && options.resume == run::Resume::no &&
              options.branch.empty(),
          "parallel.backend = null: its weights mean nothing; expected an "
          "empty train.out (none), no train.resume and no train.branch");
  return dist::make_null_communicator(
      {.dp = parallel.dp, .tp = parallel.tp, .rank = 0});
}

void StepCosts::step_ended() {
  ends_.push_back(std::chrono::steady_clock::now());
}

std::string StepCosts::report(const model::Cost& cost,
                              at::Device device) const {
  std::vector<double> ms;
  for (std::size_t i = 1; i < ends_.size(); ++i) {
    ms.push_back(
        std::chrono::duration<double, std::milli>(ends_[i] - ends_[i - 1])
            .count());
  }
  std::sort(ms.begin(), ms.end());
  const std::string time =
      ms.empty()
          ? "one step only, no time"
          : fmt::format("{:.1f} ms a step (median of {} after the first)",
                        ms[ms.size() / 2],
                        ms.size());
  return fmt::format(
      "one rank {}\n"
      "memory   weights {:.1f} MiB, gradients {:.1f} MiB, optimizer {:.1f} "
      "MiB, kept for backward {:.1f} MiB; process at most {:.1f} MiB{}",
      time,
      static_cast<double>(cost.bytes.weights) / kMib,
      static_cast<double>(cost.bytes.gradients) / kMib,
      static_cast<double>(cost.bytes.optimizer) / kMib,
      cost.pass.kept_bytes / kMib,
      peak_resident_mib(),
      describe_gpu_peak(device));
}

}  // namespace mumoe::launch
