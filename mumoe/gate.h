#pragma once

#include <ATen/core/Tensor.h>

#include "mumoe/gemm.h"
#include "mumoe/kernels/gate_norm.h"
namespace mumoe::dist {
class Communicator;
}

namespace mumoe {

enum class GateActivation { entmax15, softmax, top_k };
struct GateConfig {
  GateActivation activation = GateActivation::entmax15;
  GateNorm norm = GateNorm::layer;
  std::int64_t top_k = 0;
};
struct BatchStatistics {
  at::Tensor running_mean, running_var;
  dist::Communicator* group = nullptr;
  bool training = true;
  double momentum = 0.1;
};
at::Tensor gate(const at::Tensor& x,
                const at::Tensor& weight,
                const GateConfig&,
                GemmLibrary,
                BatchStatistics* statistics = nullptr);
/// Expert coefficients from gate logits: a = entmax₁.₅(norm(ℓ)), row by row
/// (mumoe/kernels/gate.h has the equations and says what NaN and ±∞ do).
///
/// `logits`: [..., N], N ≥ 1 experts in the last dim; fp32, fp64 or bf16
/// (computed in fp32), on a CPU or CUDA device; need not be contiguous.
/// Returns a contiguous tensor of the same shape, dtype and device; each row
/// is ≥ 0 and sums to 1, with exact zeros outside the support.
///
/// Differentiable once. Keeps the logits and the coefficients for backward.
/// The gradient that comes in is ignored where a coefficient is 0.
/// Throws `InternalError` for another dtype, device or shape.
at::Tensor gate_coefficients(const at::Tensor& logits, GateNorm norm);

}  // namespace mumoe
