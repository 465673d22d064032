#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mumoe::study {

/// A layer I -> O, and how it computes y [T, O] of x [T, I], fp32 on the CPU,
/// without gradients.
class CostedLayer {
 public:
  virtual ~CostedLayer() = default;
  virtual at::Tensor forward(const at::Tensor& x) const = 0;

  std::string name;
  std::string detail;  ///< Ranks, experts used.
  std::int64_t parameters = 0;
  /// Multiply-accumulates for one token, with the gate.
  std::int64_t macs = 0;
};

/// What layers are compared.
struct CostRequest {
  std::int64_t inputs = 768;
  std::int64_t outputs = 1000;
  std::int64_t experts = 128;
  std::int64_t active = 2;  ///< Experts that a sparse mixture uses.
  std::int64_t tokens = 1;
  int repeats = 100;
};

/// A linear layer; mixtures of N linear layers, all of them used by their
/// softmax, or the `active` likeliest, whose weights alone are read; a ring and
/// a CP layer with as many parameters as the linear layer, gate included, or
/// the few more that their next rank needs. All with biases. Throws
/// `InputError` where a gate alone has more.
std::vector<std::unique_ptr<CostedLayer>> costed_layers(
    const CostRequest& request);

/// What a forward pass took.
struct LayerCost {
  double latency_ms = 0;  ///< Median,
  double low_ms = 0;      ///< and the middle half of the passes.
  double high_ms = 0;
  /// Bytes of weights, and what a pass holds at most beside them and its input.
  std::int64_t weight_bytes = 0;
  std::int64_t peak_bytes = 0;
};

/// Of each of `layers`, measured on this CPU with LibTorch's threads: passes in
/// turns, so that what disturbs the machine disturbs all alike.
std::vector<LayerCost> measure_layers(
    const std::vector<std::unique_ptr<CostedLayer>>& layers,
    const CostRequest& request);

}  // namespace mumoe::study
