#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "mumoe/combine.h"
#include "mumoe/factors.h"
#include "mumoe/gemm.h"
#include "mumoe/sharding.h"

namespace mumoe {

struct MixtureOptions {
  /// Who multiplies fp32 matrices on the CPU.
  GemmLibrary gemm = preferred_gemm_library();
  Mixing mixing = Mixing::automatic;
  /// The gate that gave the coefficients ignores their gradient where they are
  /// zero (entmax, top-k): it is then left at zero there by sparse mixing.
  /// Otherwise the gradient is exact everywhere.
  bool support_only = false;
  /// Forms the hidden layer again in backward instead of keeping it: one more
  /// product (a tenth of the block), a third of the memory. Not under the plan
  /// `rank`, where it would be one more sum over ranks.
  bool recompute = false;
  /// Adds the gradients of factors to the .grad they have, in the products
  /// themselves (see `FactorGradients`); for .backward(), not for
  /// torch::autograd::grad.
  bool gradients_in_place = false;
  /// How the factors are cut between ranks, and what they exchange therefore.
  Sharding sharding = {};
  /// Receives how experts were mixed.
  MixingReport* report = nullptr;
};

/// The affine layer norm that a block's experts see its input through;
/// undefined tensors: none. weight, bias: [I]; where their dtype is not x's,
/// the norm is in the wider of both.
struct InputNorm {
  at::Tensor weight = {};
  at::Tensor bias = {};
};

/// One μMoE layer, y = f(a, LN(x)), or two that share a gate,
///   y = f₂(a, GELU(f₁(a, LN(x)))),
/// in one autograd node, with gradients written out. `layers`: one or two, of
/// any forms with the same experts. `coefficients`: one [T, N_e] a level, in
/// the dtype of the factors. `x` [T, I] may be of a wider dtype: the norm sees
/// all of it, products its rounded value. Returns [T, O].
///
/// Keeps x and a (which are alive anyway), each layer's projection [T, R], the
/// norm's statistics and, without `recompute`, GELU's input [T, H]. Everything
/// else is formed again in passes that stay in the caches. Differentiable once.
/// Throws `InternalError` when shapes do not fit.
at::Tensor mixture(const std::vector<at::Tensor>& coefficients,
                   const at::Tensor& x,
                   const InputNorm& norm,
                   const std::vector<Factors>& layers,
                   const MixtureOptions& options = {});

}  // namespace mumoe
