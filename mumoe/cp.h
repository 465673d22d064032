#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace mumoe {

/// The factors of one CPμMoE layer (arXiv 2402.12550, Eq. 2). The expert tensor
/// W[n,i,o] = Σ_r U1[n,r] · U2[i,r] · U3[o,r] exists only as these. With E
/// levels of experts there is one U1 a level.
struct CpFactors {
  /// U1, one [N_e, R] for each level e.
  std::vector<at::Tensor> expert;
  /// U2 without its bias row, [I, R].
  at::Tensor input;
  /// The bias row of U2, [R]; undefined for a layer without expert biases.
  at::Tensor input_bias;
  /// U3, [O, R].
  at::Tensor output;
};

/// y = U3 [ (Π_e U1_eᵀ a_e) ∘ (U2ᵀ z + b) ]   (Appendix B, fast form)
///
/// `coefficients`: one [T, N_e] a level. `z`: [T, I]. Returns [T, O].
/// Differentiable in everything; all tensors share one dtype and device.
/// Throws `InternalError` when shapes do not fit.
at::Tensor cp_layer(const std::vector<at::Tensor>& coefficients,
                    const at::Tensor& z,
                    const CpFactors& factors);

/// Two layers that share one gate: y = layer2(GELU(layer1(z))), GELU exact
/// (erf). One autograd node: keeps a, z, the mixed experts P_e, the projections
/// Q and GELU's input, and recomputes P∘Q and GELU in backward.
///
/// `coefficients`: one [T, N_e] a level. `z`: [T, I]. Returns [T, O].
at::Tensor cp_block(const std::vector<at::Tensor>& coefficients,
                    const at::Tensor& z,
                    const CpFactors& first,
                    const CpFactors& second);

}  // namespace mumoe
