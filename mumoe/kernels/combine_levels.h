#pragma once

// The product of the levels of experts of one token and its gradients, for
// combine_cpu.cpp: compiled once per instruction set.

#include "mumoe/kernels/combine_mix.h"
#include "mumoe/kernels/combine_shape.h"

namespace mumoe::kernels::MUMOE_ISA {

/// The mixed rows of one token and what the levels multiply to.
template <class T>
struct Mixed {
  T* row[kMaxLevels];     // m_e
  T* before[kMaxLevels];  // product of the levels before e (ring, kronecker)
  T* after[kMaxLevels];   // of those after e (ring)
  T* all;                 // of all levels
  Active<T> active;
};

template <class T>
Mixed<T> take_mixed(const CombineShape& s, Scratch<T>& scratch) {
  Mixed<T> m = {};
  for (int e = 0; e < s.levels; ++e) m.row[e] = scratch.take(s.mixed[e]);
  for (int e = 0; e < s.levels; ++e) {
    m.before[e] = scratch.take(s.longest_product());
    m.after[e] = scratch.take(s.longest_product());
  }
  m.all = scratch.take(s.product());
  m.active = take_active(s.most_experts(), scratch);
  return m;
}

/// m_e of token t, for `CombineForward` and `CombineBackward` alike.
template <class Matrices, class T>
void form_mixed(const CombineShape& s,
                const Matrices& x,
                std::int64_t t,
                Mixed<T>& m) {
  for (int e = 0; e < s.levels; ++e) {
    if (x.mixed[e] != nullptr) {
      load_row(x.mixed[e] + t * s.mixed[e], m.row[e], s.mixed[e]);
      continue;
    }
    find_active(x.coefficients[e] + t * s.experts[e], s.experts[e], m.active);
    mix(m.active, x.expert[e], s.mixed[e], m.row[e]);
  }
}

/// C = A B for the small matrices of a ring.
template <class T>
void small_product(const T* a,
                   const T* b,
                   T* c,
                   std::int64_t rows,
                   std::int64_t inner,
                   std::int64_t columns) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      T sum = 0;
      for (std::int64_t k = 0; k < inner; ++k) {
        sum += a[i * inner + k] * b[k * columns + j];
      }
      c[i * columns + j] = sum;
    }
  }
}

/// G = M_1 ⋯ M_E, keeping the products from the left.
template <class T>
void ring_product(const CombineShape& s, Mixed<T>& m) {
  const std::int64_t r1 = s.ranks[0];
  const T* left = m.row[0];
  for (int e = 1; e < s.levels; ++e) {
    T* const product = e + 1 == s.levels ? m.all : m.before[e + 1];
    m.before[e] = const_cast<T*>(left);
    small_product(left, m.row[e], product, r1, s.ranks[e], s.ranks[e + 1]);
    left = product;
  }
  if (s.levels == 1) load_row(m.row[0], m.all, s.mixed[0]);
}

/// G = m_1 ⊗ … ⊗ m_E, the last level fastest.
template <class T>
void kronecker_product(const CombineShape& s, Mixed<T>& m) {
  std::int64_t size = s.mixed[0];
  load_row(m.row[0], m.all, size);
  for (int e = 1; e < s.levels; ++e) {
    for (std::int64_t i = size - 1; i >= 0; --i) {  // in place, from the end
      const T left = m.all[i];
      for (std::int64_t j = s.mixed[e] - 1; j >= 0; --j) {
        m.all[i * s.mixed[e] + j] = left * m.row[e][j];
      }
    }
    size *= s.mixed[e];
  }
}

/// ∘ of all levels.
template <class T>
void hadamard_product(const CombineShape& s, Mixed<T>& m) {
  load_row(m.row[0], m.all, s.columns);
  for (int e = 1; e < s.levels; ++e) {
    T* const all = m.all;
    const T* const row = m.row[e];
    for (std::int64_t i = 0; i < s.columns; ++i) all[i] *= row[i];
  }
}

template <class T>
void multiply_levels(const CombineShape& s, Mixed<T>& m) {
  switch (s.kind) {
    case Combination::hadamard:
      return hadamard_product(s, m);
    case Combination::ring:
      return ring_product(s, m);
    case Combination::kronecker:
      return kronecker_product(s, m);
  }
}

/// dm_e from d(∏m) of a Hadamard product, without dividing.
template <class T>
void hadamard_backward(const CombineShape& s,
                       const Mixed<T>& m,
                       const T* dall,
                       T* const* dm) {
  for (int e = 0; e < s.levels; ++e) {
    load_row(dall, dm[e], s.columns);
    for (int f = 0; f < s.levels; ++f) {
      if (f == e) continue;
      T* const d = dm[e];
      const T* const row = m.row[f];
      for (std::int64_t i = 0; i < s.columns; ++i) d[i] *= row[i];
    }
  }
}

/// dM_e = (M_1 ⋯ M_{e−1})ᵀ dG (M_{e+1} ⋯ M_E)ᵀ, by carrying dG (M_E)ᵀ ⋯ from
/// the right; m.after holds what is carried.
template <class T>
void ring_backward(const CombineShape& s,
                   const Mixed<T>& m,
                   const T* dg,
                   T* const* dm) {
  const std::int64_t r1 = s.ranks[0];
  const T* carried = dg;  // [r_1, r_{e+2}] at level e, counted from 0
  for (int e = s.levels - 1; e >= 0; --e) {
    const std::int64_t left = s.ranks[e], right = s.ranks[e + 1];
    if (e == 0) {
      load_row(carried, dm[0], s.mixed[0]);
      break;
    }
    for (std::int64_t a = 0; a < left; ++a) {
      for (std::int64_t b = 0; b < right; ++b) {
        T sum = 0;
        for (std::int64_t i = 0; i < r1; ++i) {
          sum += m.before[e][i * left + a] * carried[i * right + b];
        }
        dm[e][a * right + b] = sum;
      }
    }
    T* const next = m.after[e];
    for (std::int64_t i = 0; i < r1; ++i) {
      for (std::int64_t a = 0; a < left; ++a) {
        T sum = 0;
        for (std::int64_t b = 0; b < right; ++b) {
          sum += carried[i * right + b] * m.row[e][a * right + b];
        }
        next[i * left + a] = sum;
      }
    }
    carried = next;
  }
}

/// dm_e[j] = Σ over the other levels of dG ∏_{f≠e} m_f.
template <class T>
void kronecker_backward(const CombineShape& s,
                        const Mixed<T>& m,
                        const T* dg,
                        T* const* dm) {
  for (int e = 0; e < s.levels; ++e) {
    for (std::int64_t j = 0; j < s.mixed[e]; ++j) dm[e][j] = 0;
  }
  for (std::int64_t i = 0; i < s.inner; ++i) {
    std::int64_t index[kMaxLevels];
    std::int64_t rest = i;
    for (int e = s.levels - 1; e >= 0; --e) {
      index[e] = rest % s.mixed[e];
      rest /= s.mixed[e];
    }
    for (int e = 0; e < s.levels; ++e) {
      T product = dg[i];
      for (int f = 0; f < s.levels; ++f) {
        if (f != e) product *= m.row[f][index[f]];
      }
      dm[e][index[e]] += product;
    }
  }
}

}  // namespace mumoe::kernels::MUMOE_ISA
