#pragma once

#include <cstdint>

namespace mumoe::kernels {

constexpr int kMaxLevels = 4;

/// How the forms of a μMoE layer combine mixed experts with an input.
///   hadamard (CP)     c = (m₁ ∘ … ∘ m_E) ∘ q
///   ring (TR, TT)     c = M₁ ⋯ M_E Q       matrices, M_e [r_e, r_{e+1}]
///   kronecker (Tucker) c = (m₁ ⊗ … ⊗ m_E) Q  the first level varies slowest
enum class Combination { hadamard, ring, kronecker };

/// Sizes of what is combined for one token. Row-major throughout: for ring and
/// kronecker, Q is [inner, columns] and the result [rows, columns].
struct CombineShape {
  Combination kind = Combination::hadamard;
  int levels = 1;
  /// N_e.
  std::int64_t experts[kMaxLevels] = {};
  /// Length of m_e = a_e U_e: R, r_e · r_{e+1}, or the level's Tucker rank.
  std::int64_t mixed[kMaxLevels] = {};
  /// Ring alone: r_1 … r_{E+1}.
  std::int64_t ranks[kMaxLevels + 1] = {};
  std::int64_t rows = 1;     ///< r_1; else 1.
  std::int64_t inner = 1;    ///< r_{E+1}; Π Tucker ranks; 1 for hadamard.
  std::int64_t columns = 0;  ///< r_3; Tucker's output rank; R.

  /// Length of q.
  constexpr std::int64_t projection() const { return inner * columns; }
  /// Length of c.
  constexpr std::int64_t result() const { return rows * columns; }
  /// Length of the product of all levels: R, or the matrix G.
  constexpr std::int64_t product() const {
    return kind == Combination::hadamard ? columns : rows * inner;
  }
  /// The longest that a product of some levels in a row can be.
  constexpr std::int64_t longest_product() const {
    std::int64_t longest = product();
    for (int e = 0; e <= levels; ++e) {
      for (int f = 0; f <= levels; ++f) {
        const std::int64_t size = ranks[e] * ranks[f];
        longest = size > longest ? size : longest;
      }
    }
    return longest;
  }
  /// The largest N_e.
  constexpr std::int64_t most_experts() const {
    std::int64_t most = 0;
    for (int e = 0; e < levels; ++e)
      most = experts[e] > most ? experts[e] : most;
    return most;
  }
};

/// Matrices of `combine_forward`, T rows each, row-major and dense.
template <class E>
struct CombineForward {
  const E* coefficients[kMaxLevels] = {};  ///< a_e [T, N_e]
  const E* expert[kMaxLevels] = {};        ///< U_e [N_e, mixed_e]
  /// M = a_e U_e [T, mixed_e], or null: formed from `coefficients` and
  /// `expert`, reading only the rows of experts whose coefficient is not zero.
  const E* mixed[kMaxLevels] = {};
  const E* projection = nullptr;  ///< q [T, projection()]
  const E* bias = nullptr;        ///< added to every q, or null
  E* result = nullptr;            ///< c [T, result()]
};

/// Matrices of `combine_backward`.
template <class E>
struct CombineBackward {
  const E* coefficients[kMaxLevels] = {};
  const E* expert[kMaxLevels] = {};
  const E* mixed[kMaxLevels] = {};
  const E* projection = nullptr;
  const E* bias = nullptr;
  const E* grad_result = nullptr;  ///< dc [T, result()]

  E* result = nullptr;             ///< c once more [T, result()]
  E* grad_projection = nullptr;    ///< dq [T, projection()]
  E* grad_mixed[kMaxLevels] = {};  ///< dm_e [T, mixed_e]
  /// da_e [T, N_e] where a_e is not zero, and zero elsewhere; or null: not
  /// wanted. Needs `expert`.
  E* grad_coefficients[kMaxLevels] = {};
};

}  // namespace mumoe::kernels
