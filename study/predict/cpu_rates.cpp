#include "study/predict/cpu_rates.h"

#include <cmath>

namespace mumoe::study {
namespace {

constexpr double kMemoryBandwidth = 1e10, kLaunch = 2e-6, kLatency = 1e-5;
/// What is looked for of a step's time.
enum Time : std::size_t {
  kShare,
  kRamp,
  kRoundedShare,
  kRoundedRamp,
  kRoundedPasses,
  kState,
  kScores,
  kLogits,
  kNorm,
  kGate,
  kMixing,
  kGelu,
  kLaunches,
  kStart,
  kMicroStep,
  kStep,
  kLink,
  kSharing,
  kTimes
};

/// What is looked for of its memory.
enum Memory : std::size_t {
  kProgram,
  kImages,
  kPeers,
  kParameters,
  kKept,
  kWide,
  kLogitsRoom,
  kEmbeddings,
  kMemories
};

}  // namespace

std::vector<Unknown> time_unknowns() {
  std::vector<Unknown> all(kTimes);
  all[kShare] = {0.9, 0.2, 1.5};
  all[kRamp] = {16, 0.5, 400};
  all[kRoundedShare] = {0.9, 0.2, 1.5};
  all[kRoundedRamp] = {32, 0.5, 400};
  all[kRoundedPasses] = {2, 0.3, 10};
  all[kState] = {1, 0.05, 20};
  all[kScores] = {3, 0.05, 50};
  all[kLogits] = {3, 0.05, 50};
  all[kNorm] = {5, 0.1, 100};
  all[kGate] = {5, 0.1, 200};
  all[kMixing] = {4, 0.1, 100};
  all[kGelu] = {5, 0.1, 100};
  all[kLaunches] = {2, 0.01, 200};
  all[kStart] = {2, 0.01, 200};
  all[kMicroStep] = {0.3, 0.001, 20};
  all[kStep] = {1, 0.001, 50};
  all[kLink] = {3e9, 2e8, 5e10};
  all[kSharing] = {0.05, 0.001, 1};
  return all;
}

Rates cpu_rates(std::span<const double> values,
                at::ScalarType dtype,
                int ranks) {
  const bool rounded = dtype == at::kBFloat16;
  const double slower = 1 + values[kSharing] * std::log2(ranks);
  Rates rates;
  rates.product_share = values[rounded ? kRoundedShare : kShare] / slower;
  rates.product_ramp = values[rounded ? kRoundedRamp : kRamp];
  rates.memory_share = 1 / slower;
  const double conversions = rounded ? values[kRoundedPasses] : 1;
  const auto set = [&](PassKind kind, double passes) {
    rates.passes[static_cast<std::size_t>(kind)] = passes;
  };
  set(PassKind::state, values[kState]);
  set(PassKind::scores, values[kScores] * conversions);
  set(PassKind::logits, values[kLogits]);
  set(PassKind::norm, values[kNorm]);
  set(PassKind::gate, values[kGate]);
  set(PassKind::mixing, values[kMixing] * conversions);
  set(PassKind::gelu, values[kGelu] * conversions);
  rates.launch = values[kLaunches];
  rates.start = values[kStart];
  rates.ring_step = 0;
  rates.micro_step = values[kMicroStep];
  rates.step = values[kStep];
  return rates;
}

Machine cpu_machine(double peak_flops, double link_bandwidth) {
  Machine machine;
  machine.name = "here";
  machine.peak_flops = peak_flops;
  machine.memory_bandwidth = kMemoryBandwidth;
  machine.multiprocessors = 0;
  machine.kernel_launch = kLaunch;
  machine.gpus_per_node = 1e6;
  machine.link_bandwidth = link_bandwidth;
  machine.link_share = machine.node_share = 1;
  machine.node_bandwidth = link_bandwidth;
  machine.link_latency = machine.node_latency = kLatency;
  machine.collective_latency = kLatency;
  return machine;
}

std::vector<Unknown> memory_unknowns() {
  std::vector<Unknown> all(kMemories);
  all[kProgram] = {4.2e8, 5e7, 2e9};
  all[kImages] = {8e7, 1e5, 1e9};
  all[kPeers] = {1e7, 1e5, 1e9};
  all[kParameters] = {1, 0.5, 2};
  all[kKept] = {1, 0.5, 2};
  all[kWide] = {0.6, 0.1, 2};
  all[kLogitsRoom] = {0.6, 0.1, 2};
  all[kEmbeddings] = {0.6, 0.1, 2};
  return all;
}

double memory_of(const MemoryEstimate& memory,
                 int ranks,
                 bool images,
                 std::span<const double> values) {
  const dist::ParameterBytes& bytes = memory.parameters;
  return values[kProgram] + (images ? values[kImages] : 0) +
         (ranks > 1 ? values[kPeers] : 0) +
         values[kParameters] *
             static_cast<double>(bytes.weights + bytes.gradients +
                                 bytes.optimizer) +
         values[kKept] * memory.kept + values[kWide] * memory.wide +
         values[kLogitsRoom] * memory.logits +
         values[kEmbeddings] * memory.embeddings;
}

double link_of(std::span<const double> values) {
  return values[kLink];
}

}  // namespace mumoe::study
