#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "mumoe/gemm.h"

namespace mumoe {

namespace dist {
class Communicator;
}

/// φ of the gate, over the normalised logits ẑ of one token:
///   entmax15  [ẑ/2 − τ]₊², exactly sparse (mumoe/kernels/gate.h)
///   softmax   exp ẑ / Σ exp ẑ
///   top_k     softmax over the k largest ẑ, the others exact zeros; of equal
///             logits those of lower index are taken; k = N is softmax
enum class GateActivation { entmax15, softmax, top_k };

/// How gate logits are normalised before the activation: over the experts of
/// their own token, over all tokens of the batch expert by expert, or not at
/// all. Mean 0, variance 1, eps 1e-5, no affine.
enum class GateNorm { layer, batch, none };

std::string_view to_string(GateActivation activation);
std::string_view to_string(GateNorm norm);

/// What a gate computes from its logits: a = φ(norm(ℓ)).
///
/// A row that holds NaN gives a row of NaN, for every activation. So does +∞,
/// and −∞ under the layer norm; without a norm −∞ is a coefficient of 0 (a
/// mask) as long as the row has a finite logit. The batch norm's statistics
/// carry a NaN or ±∞ of one token to all tokens.
struct GateConfig {
  GateActivation activation = GateActivation::entmax15;
  GateNorm norm = GateNorm::layer;
  /// Experts that a token keeps, 1 to N; read by `top_k` only.
  std::int64_t top_k = 0;

  /// Throws `InputError` unless a gate over so many experts can be made.
  void validate(std::int64_t experts) const;
};

/// "entmax15, layer norm"
std::string to_string(const GateConfig& config);

/// What the batch norm of one call normalised with. Give the same object to a
/// second run of the forward pass (recomputation in backward): the first run
/// fills it, later ones use it and then neither communicate nor touch the
/// running statistics. fp32, or fp64 for fp64.
struct BatchMoments {
  at::Tensor mean;   // [N]
  at::Tensor rstd;   // [N], 1 / √(biased variance + eps)
  at::Tensor count;  // [1], fp64: rows of all ranks
};

/// The batch norm's state and group; eps 1e-5.
///
/// Training normalises each expert over all rows of all ranks of `group` with
/// the biased variance, and
///   running ← (1 − momentum) · running + momentum · batch
/// where the running variance takes the unbiased one. Otherwise the running
/// statistics normalise, and are constants for backward.
struct BatchStatistics {
  at::Tensor running_mean;  // [N], fp32, or fp64 for fp64
  at::Tensor running_var;   // [N]
  /// Null: the rows of this process alone. Must outlive backward.
  dist::Communicator* group = nullptr;
  bool training = true;
  double momentum = 0.1;
  /// Null: every forward pass is a first one.
  BatchMoments* moments = nullptr;
};

/// a = φ(norm(x G)), the coefficients [T, N] of the experts: one autograd node,
/// differentiable once in x and G.
///
/// `x` [T, I]; may be of a wider dtype than `weight`, G [I, N]: the product
/// sees the rounded value, and dx comes back in x's dtype. `a` has G's dtype:
/// fp32, fp64 or bf16 (norm and φ in fp32), on a CPU or CUDA device. Keeps x
/// itself, G, the logits and a; the batch norm also three [N].
///
/// The gradient that comes in is not read where a coefficient is 0.
///
/// `statistics`: needed by the batch norm, else ignored; not kept. Training
/// then has collectives, in this order: forward all-reduces sums and count
/// [N + 1], then squares [N]; backward all-reduces [2, N]. Ranks may have
/// different T, 0 included. Gradients are those of the sum of all ranks'
/// losses: any split of the rows over ranks gives the same.
/// Throws `InputError` for a config that does not fit N and, on all ranks, for
/// a training batch of one row in total; `InternalError` for another dtype,
/// device or shape.
at::Tensor gate(const at::Tensor& x,
                const at::Tensor& weight,
                const GateConfig& config,
                GemmLibrary library,
                BatchStatistics* statistics = nullptr);

/// The same from logits [..., N] of any strides: a of the same shape and dtype,
/// contiguous. Keeps the logits and a.
at::Tensor gate_coefficients(const at::Tensor& logits,
                             const GateConfig& config = {},
                             BatchStatistics* statistics = nullptr);

}  // namespace mumoe
