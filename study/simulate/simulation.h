#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "run/options.h"
#include "study/predict/run_cost.h"
#include "study/simulate/charges.h"
#include "study/simulate/virtual_clock.h"
#include "study/simulate/virtual_network.h"

namespace mumoe::study {

/// What is simulated: rank 0 of a run, whose steps are those of the trainer,
/// on the meta device.
struct SimulatedRun {
  const run::Options& options;
  RunLayout layout;
  at::ScalarType dtype = at::kBFloat16;
  /// Of the device that the meta device stands for.
  c10::DeviceType kind = c10::kCUDA;
  const Charges& charges;
  const NetworkModel& network;
  /// Of coefficients that are not zero, each time that they are counted in a
  /// micro-batch; none: all.
  std::vector<double> active_shares = {};
  int steps = 2;  ///< Measured ones, behind a first.
  bool keeps_spans = false;
};

/// A step, the mean of those that were measured. Seconds.
struct SimulatedStep {
  double seconds = 0;
  double products = 0;  ///< What the device computes, by kinds.
  double kernels = 0;
  double passes = 0;
  /// Of a CPU: between operations, and what communication takes of it.
  double host = 0;
  std::map<std::string, double> waits;  ///< That nothing hid, by network.
  double idle = 0;                      ///< The device waits for its host.
  std::int64_t operations = 0;
  double flops = 0;        ///< Of all products of the rank.
  double model_flops = 0;  ///< Of the whole model, forward and backward.
  /// Payload by the communicators' counters: over dp, tp, all ranks.
  std::int64_t dp_bytes = 0;
  std::int64_t tp_bytes = 0;
  std::int64_t all_bytes = 0;
  std::int64_t peak_bytes = 0;     ///< Of tensors, at most.
  std::vector<VirtualSpan> spans;  ///< Of all steps, where they are kept.
};

/// Throws `InputError` where model or batch cannot be cut so. Deterministic.
SimulatedStep simulate(const SimulatedRun& run);

}  // namespace mumoe::study
