#pragma once

#include <cstdint>
#include <vector>

#include "mumoe/kernels/combine_shape.h"

// The combination of μMoE layers (mumoe/kernels/combine.h) in fp64: loops taken
// from the equations, one token after the other.

namespace mumoe::testing {

using Values = std::vector<double>;

/// Matrices of T rows, row-major; fields as in CombineForward and
/// CombineBackward. `mixed` of a level may be empty: formed; `bias` may be.
struct CombineInputs {
  Values coefficients[kernels::kMaxLevels];
  Values expert[kernels::kMaxLevels];
  Values mixed[kernels::kMaxLevels];
  Values projection;
  Values bias;
  Values grad_result;
};
struct CombineOutputs {
  Values result;
  Values grad_projection;
  Values grad_mixed[kernels::kMaxLevels];
  Values grad_coefficients[kernels::kMaxLevels];
};

using Sizes = std::vector<std::int64_t>;

/// `rank` columns.
inline kernels::CombineShape hadamard_shape(const Sizes& experts,
                                            std::int64_t rank) {
  kernels::CombineShape shape;
  shape.kind = kernels::Combination::hadamard;
  shape.levels = static_cast<int>(experts.size());
  shape.columns = rank;
  for (int e = 0; e < shape.levels; ++e) {
    shape.experts[e] = experts[e];
    shape.mixed[e] = rank;
  }
  return shape;
}

/// `ranks`: one more than levels.
inline kernels::CombineShape ring_shape(const Sizes& experts,
                                        const Sizes& ranks,
                                        std::int64_t columns) {
  kernels::CombineShape shape = hadamard_shape(experts, columns);
  shape.kind = kernels::Combination::ring;
  for (int e = 0; e <= shape.levels; ++e) shape.ranks[e] = ranks[e];
  for (int e = 0; e < shape.levels; ++e) {
    shape.mixed[e] = ranks[e] * ranks[e + 1];
  }
  shape.rows = ranks.front();
  shape.inner = ranks.back();
  return shape;
}

/// `ranks`: one a level.
inline kernels::CombineShape kronecker_shape(const Sizes& experts,
                                             const Sizes& ranks,
                                             std::int64_t columns) {
  kernels::CombineShape shape = hadamard_shape(experts, columns);
  shape.kind = kernels::Combination::kronecker;
  for (int e = 0; e < shape.levels; ++e) {
    shape.mixed[e] = ranks[e];
    shape.inner *= ranks[e];
  }
  return shape;
}

/// One token: its mixed experts m_e; G [rows, inner], and dm_e from dG.
struct TokenOracle {
  const kernels::CombineShape& shape;
  std::vector<Values> m;

  /// M_first ⋯ M_{last−1} of a ring; a unit matrix of the right size for none.
  Values ring_product(int first, int last) const {
    const std::int64_t n = shape.ranks[first];
    std::int64_t k = n;
    Values product(n * n);
    for (std::int64_t i = 0; i < n; ++i) product[i * n + i] = 1;
    for (int e = first; e < last; ++e) {
      const std::int64_t columns = shape.ranks[e + 1];
      Values next(n * columns);
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          for (std::int64_t l = 0; l < k; ++l) {
            next[i * columns + j] += product[i * k + l] * m[e][l * columns + j];
          }
        }
      }
      product = next;
      k = columns;
    }
    return product;
  }

  /// Which element of m_e the element `index` of m_1 ⊗ … ⊗ m_E has.
  std::int64_t place(std::int64_t index, int e) const {
    for (int f = shape.levels - 1; f > e; --f) index /= shape.mixed[f];
    return index % shape.mixed[e];
  }
  double product_of_others(std::int64_t index, int e) const {
    double product = 1;
    for (int f = 0; f < shape.levels; ++f) {
      if (f != e) product *= m[f][place(index, f)];
    }
    return product;
  }

  Values matrix() const {
    if (shape.kind == kernels::Combination::ring) {
      return ring_product(0, shape.levels);
    }
    Values g(shape.inner);
    for (std::int64_t i = 0; i < shape.inner; ++i) {
      g[i] = product_of_others(i, -1);
    }
    return g;
  }

  Values mixed_gradient(const Values& dg, int e) const {
    Values dm(shape.mixed[e]);
    if (shape.kind == kernels::Combination::kronecker) {
      for (std::int64_t i = 0; i < shape.inner; ++i) {
        dm[place(i, e)] += dg[i] * product_of_others(i, e);
      }
      return dm;
    }
    // G = L M_e R: dM_e = Lᵀ dG Rᵀ.
    const Values left = ring_product(0, e);
    const Values right = ring_product(e + 1, shape.levels);
    const std::int64_t a = shape.ranks[e], b = shape.ranks[e + 1];
    for (std::int64_t i = 0; i < a; ++i) {
      for (std::int64_t j = 0; j < b; ++j) {
        for (std::int64_t r = 0; r < shape.rows; ++r) {
          for (std::int64_t s = 0; s < shape.inner; ++s) {
            dm[i * b + j] += left[r * a + i] * dg[r * shape.inner + s] *
                             right[j * shape.inner + s];
          }
        }
      }
    }
    return dm;
  }
};

/// m_e = a_e U_e of one token, or what is given.
inline Values oracle_mixed(const kernels::CombineShape& shape,
                           const CombineInputs& in,
                           int e,
                           std::int64_t token) {
  const std::int64_t width = shape.mixed[e];
  Values m(width);
  for (std::int64_t i = 0; i < width; ++i) {
    if (!in.mixed[e].empty()) {
      m[i] = in.mixed[e][token * width + i];
      continue;
    }
    for (std::int64_t n = 0; n < shape.experts[e]; ++n) {
      const double a = in.coefficients[e][token * shape.experts[e] + n];
      if (a != 0) m[i] += a * in.expert[e][n * width + i];
    }
  }
  return m;
}

/// c, dq and dm_e of one token from m_e, q + b and dc.
struct TokenResults {
  Values c, dq;
  std::vector<Values> dm;
};

inline TokenResults oracle_hadamard(const TokenOracle& token,
                                    const Values& q,
                                    const Values& dc) {
  TokenResults r{Values(q.size()), Values(q.size()), token.m};
  for (std::size_t i = 0; i < q.size(); ++i) {
    double product = 1;
    for (const Values& m : token.m) product *= m[i];
    r.c[i] = product * q[i];
    r.dq[i] = dc[i] * product;
    for (std::size_t e = 0; e < token.m.size(); ++e) {
      r.dm[e][i] = dc[i] * q[i];
      for (std::size_t f = 0; f < token.m.size(); ++f) {
        if (f != e) r.dm[e][i] *= token.m[f][i];
      }
    }
  }
  return r;
}

inline TokenResults oracle_matrices(const TokenOracle& token,
                                    const Values& q,
                                    const Values& dc) {
  const kernels::CombineShape& shape = token.shape;
  const std::int64_t columns = shape.columns;
  const Values g = token.matrix();
  Values dg(g.size());
  TokenResults r{Values(dc.size()), Values(q.size()), {}};
  for (std::int64_t i = 0; i < shape.rows; ++i) {
    for (std::int64_t j = 0; j < shape.inner; ++j) {
      const std::int64_t at = i * shape.inner + j;
      for (std::int64_t k = 0; k < columns; ++k) {
        r.c[i * columns + k] += g[at] * q[j * columns + k];
        r.dq[j * columns + k] += g[at] * dc[i * columns + k];
        dg[at] += dc[i * columns + k] * q[j * columns + k];
      }
    }
  }
  for (int e = 0; e < shape.levels; ++e) {
    r.dm.push_back(token.mixed_gradient(dg, e));
  }
  return r;
}

/// da_e of one token: dm · U[n] where a is not zero.
inline Values oracle_coefficient_gradients(const kernels::CombineShape& shape,
                                           const CombineInputs& in,
                                           int e,
                                           std::int64_t token,
                                           const Values& dm) {
  Values da(shape.experts[e]);
  for (std::int64_t n = 0; n < shape.experts[e]; ++n) {
    if (in.coefficients[e][token * shape.experts[e] + n] == 0) continue;
    for (std::int64_t i = 0; i < shape.mixed[e]; ++i) {
      da[n] += dm[i] * in.expert[e][n * shape.mixed[e] + i];
    }
  }
  return da;
}

/// c and, where `in.grad_result` is not empty, every gradient.
inline CombineOutputs combine_oracle(const kernels::CombineShape& shape,
                                     std::int64_t tokens,
                                     const CombineInputs& in) {
  const bool backward = !in.grad_result.empty();
  const auto append = [](Values& to, const Values& row) {
    to.insert(to.end(), row.begin(), row.end());
  };
  CombineOutputs out;
  for (std::int64_t t = 0; t < tokens; ++t) {
    TokenOracle token{shape, {}};
    for (int e = 0; e < shape.levels; ++e) {
      token.m.push_back(oracle_mixed(shape, in, e, t));
    }
    Values q(shape.projection()), dc(shape.result());
    for (std::int64_t i = 0; i < shape.projection(); ++i) {
      q[i] = in.projection[t * shape.projection() + i] +
             (in.bias.empty() ? 0 : in.bias[i]);
    }
    for (std::int64_t i = 0; backward && i < shape.result(); ++i) {
      dc[i] = in.grad_result[t * shape.result() + i];
    }
    const TokenResults r = shape.kind == kernels::Combination::hadamard
                               ? oracle_hadamard(token, q, dc)
                               : oracle_matrices(token, q, dc);
    append(out.result, r.c);
    if (!backward) continue;
    append(out.grad_projection, r.dq);
    for (int e = 0; e < shape.levels; ++e) {
      append(out.grad_mixed[e], r.dm[e]);
      append(out.grad_coefficients[e],
             oracle_coefficient_gradients(shape, in, e, t, r.dm[e]));
    }
  }
  return out;
}

}  // namespace mumoe::testing
