#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mumoe::launch {

/// The time, in ms, when `device` has done what it was given.
double now_ms(at::Device device);

/// What one forward and backward pass of a benchmark case cost.
struct LayerTiming {
  double ms = 0;
  /// Its matrix products alone, one after the other, in the same library.
  double gemm_ms = 0;
  /// Bytes allocated by the forward pass and alive until backward, beside the
  /// output.
  std::int64_t held_bytes = 0;
};

/// One block, or one function of logits, with inputs and gradients at hand.
class LayerCase {
 public:
  virtual ~LayerCase() = default;
  /// One pass, after one that warms up.
  virtual LayerTiming run() = 0;
  /// Floating-point operations of a pass, two a multiply-accumulate; 0 where
  /// none are worth counting.
  virtual double flops() const = 0;
  virtual std::int64_t parameters() const = 0;
  /// How experts are mixed, or "".
  virtual std::string mixing() const = 0;
};

/// The names that `make_layer_case` knows, in the order of the table.
const std::vector<std::string>& layer_case_names();

/// 4096 tokens, G from N(0, 1), so that gates are as sparse as in training:
///   cp-gpt2 tr-gpt2    768 → 3072 → 768, 256 experts, R = 556 or (4, 4, 149)
///   cp-mixer tr-mixer  512 → 2048 → 512, 64 experts, R = 384 or (4, 4, 97)
///   dense-gpt2 dense-mixer   the MLPs that they replace
///   entmax15           8192 rows of 256 logits
/// `precision`: fp32 or bf16. On `device`, for which each pass is waited for.
/// Throws `InputError` for another name.
std::unique_ptr<LayerCase> make_layer_case(const std::string& name,
                                           const std::string& precision,
                                           bool recompute,
                                           at::Device device = at::kCPU);

}  // namespace mumoe::launch
