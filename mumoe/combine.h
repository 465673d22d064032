#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "mumoe/factors.h"
#include "mumoe/gemm.h"

// Mixing of experts and combination with the projected input, on tensors:
// chooses kernels by device, and per level between a matrix product and reading
// the active experts alone. Nothing here is differentiable.
//
// Shapes: T tokens, E levels; a_e [T, N_e], q [T, projection], c [T, result],
// m_e = a_e U_e [T, mixed_e] (kernels/combine_shape.h).

namespace mumoe {

/// How a_e U_e is formed: as a dense product, or from the experts whose
/// coefficient is not zero. Both add the same numbers; they round differently.
/// `automatic` counts the zeros and takes what is faster for so many: a
/// function of the coefficients alone, so that a repeated run chooses alike. On
/// a GPU counting would hold the host up, and a dense product of a thousand
/// experts takes less time than reading the rows of a twentieth of them
/// (kernels/README.md): it is dense, unless who knows more says otherwise
/// (`MuMoEBlock::mix_on_gpu`).
enum class Mixing { automatic, dense, sparse };

/// What was chosen: whether level e is mixed sparsely.
using SparseLevels = std::vector<bool>;

/// What a forward pass mixed.
struct MixingReport {
  bool sparse = false;  ///< Whether any level was mixed sparsely.
  /// Share of the coefficients, of all levels, that are not zero; 1 on a GPU,
  /// where the host does not get to know.
  double active = 1;
  std::int64_t coefficients = 0;  ///< How many there were.
  /// On a GPU: int64 [] there, to which the number of those that are not zero
  /// is added; undefined: they are not counted.
  at::Tensor counter = {};
};

/// `report`, if given, receives the outcome.
SparseLevels choose_mixing(const std::vector<at::Tensor>& coefficients,
                           Mixing mixing,
                           MixingReport* report = nullptr);

/// The share of coefficients that are not zero at or below which `automatic`
/// mixes sparsely, for products of this dtype.
double sparse_mixing_threshold(at::ScalarType dtype);

/// c from the projection q, without its bias, which `factors` hold; where there
/// is a core, it has been added before.
at::Tensor combine(const std::vector<at::Tensor>& coefficients,
                   const SparseLevels& sparse,
                   const Factors& factors,
                   const at::Tensor& projection,
                   GemmLibrary library);

struct CombineGradients {
  at::Tensor result;              ///< c once more
  at::Tensor projection;          ///< dq
  std::vector<at::Tensor> mixed;  ///< dm_e
  /// da_e. Of a sparse level with `support_only`: zero where a_e is zero.
  std::vector<at::Tensor> coefficients;
};

/// Gradients of `combine`. `support_only`: the gate ignores da_e where a_e is
/// zero, as entmax and top-k do, so it need not be computed there. Without
/// `coefficients_wanted` no da_e is: dm_e is a partial sum yet.
CombineGradients combine_backward(const std::vector<at::Tensor>& coefficients,
                                  const SparseLevels& sparse,
                                  const Factors& factors,
                                  const at::Tensor& projection,
                                  const at::Tensor& grad_result,
                                  bool support_only,
                                  bool coefficients_wanted,
                                  GemmLibrary library);

/// dU_e = a_eᵀ dm_e as [N_e, mixed_e], stored in `out` or added to it.
void expert_gradient_into(const at::Tensor& out,
                          const at::Tensor& coefficients,
                          const at::Tensor& grad_mixed,
                          bool sparse,
                          bool accumulate,
                          GemmLibrary library);

}  // namespace mumoe
