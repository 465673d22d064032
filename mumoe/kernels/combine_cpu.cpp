// Compiled once per instruction set; see mumoe/kernels/combine.h for the
// equations. Works on one token at a time: its mixed rows, q + b and dc stay in
// the first-level cache, in the compute type.
#include <type_traits>

#include "mumoe/kernels/combine_isa.h"
#include "mumoe/kernels/rows.h"
#include "mumoe/kernels/rows_bf16.h"

namespace mumoe::kernels::MUMOE_ISA {
namespace {

/// Hands out parts of the scratch memory.
template <class T>
class Scratch {
 public:
  explicit Scratch(double* memory) : next_(reinterpret_cast<T*>(memory)) {}
  T* take(std::int64_t count) {
    T* const part = next_;
    next_ += count;
    return part;
  }

 private:
  T* next_;
};

template <class E, class T>
void load_row(const E* from, T* to, std::int64_t size) {
  over_row<T>(
      size,
      [&](std::int64_t i) { Memory<E>::load(from + i).store(to + i); },
      [&](std::int64_t i) { to[i] = load_value(from[i]); });
}

template <class E, class T>
void store_row(const T* from, E* to, std::int64_t size) {
  over_row<T>(
      size,
      [&](std::int64_t i) {
        Memory<E>::store(to + i, Lanes<T>::load(from + i));
      },
      [&](std::int64_t i) { store_value(to[i], from[i]); });
}

/// to ← x ∘ y; `to` is neither of them.
template <class T>
void multiply(const T* x, const T* y, T* to, std::int64_t size) {
  over_row<T>(
      size,
      [&](std::int64_t i) {
        (Lanes<T>::load(x + i) * Lanes<T>::load(y + i)).store(to + i);
      },
      [&](std::int64_t i) { to[i] = x[i] * y[i]; });
}

template <class E, class T>
void load_biased(const E* q, const E* bias, T* to, std::int64_t size) {
  if (bias == nullptr) return load_row(q, to, size);
  over_row<T>(
      size,
      [&](std::int64_t i) {
        (Memory<E>::load(q + i) + Memory<E>::load(bias + i)).store(to + i);
      },
      [&](std::int64_t i) { to[i] = load_value(q[i]) + load_value(bias[i]); });
}

/// Room for all experts.
template <class T>
Active<T> take_active(std::int64_t experts, Scratch<T>& scratch) {
  Active<T> active = {};
  active.coefficient = scratch.take((experts + 7) / 8 * 8);
  auto address = reinterpret_cast<std::uintptr_t>(
      scratch.take(experts * (8 / static_cast<std::int64_t>(sizeof(T))) + 8));
  address = (address + 7) / 8 * 8;  // indices are 8 bytes wide
  active.expert = reinterpret_cast<std::int64_t*>(address);
  return active;
}

template <class E, class T>
void find_active(const E* row, std::int64_t experts, Active<T>& active) {
  active.count = 0;
  over_nonzero(row, experts, [&](std::int64_t n, T value) {
    active.expert[active.count] = n;
    active.coefficient[active.count] = value;
    ++active.count;
  });
}

/// kBlocks blocks of m = Σ_k a_k U[n_k], from column `at`.
template <int kBlocks, class E, class T>
[[gnu::always_inline]] inline void mix_blocks(const Active<T>& active,
                                              const E* expert,
                                              std::int64_t width,
                                              std::int64_t at,
                                              T* to) {
  using L = Lanes<T>;
  L sum[kBlocks];
  for (int b = 0; b < kBlocks; ++b) sum[b] = L::all(0);
  for (std::int64_t k = 0; k < active.count; ++k) {
    const E* const row = expert + active.expert[k] * width + at;
    const L a = L::all(active.coefficient[k]);
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      sum[b] = sum[b] + a * Memory<E>::load(row + b * L::kSize);
    }
  }
  for (int b = 0; b < kBlocks; ++b) sum[b].store(to + at + b * L::kSize);
}

/// sums[n_k] += a_k dm for kBlocks blocks from column `at`: dm is read once and
/// stays in registers.
template <int kBlocks, class E, class T>
[[gnu::always_inline]] inline void add_scaled(const Active<T>& active,
                                              const E* dm,
                                              std::int64_t at,
                                              std::int64_t columns,
                                              T* sums) {
  using L = Lanes<T>;
  L block[kBlocks];
#pragma GCC unroll 8
  for (int b = 0; b < kBlocks; ++b) {
    block[b] = Memory<E>::load(dm + at + b * L::kSize);
  }
  for (std::int64_t k = 0; k < active.count; ++k) {
    T* const sum = sums + active.expert[k] * columns + at;
    const L a = L::all(active.coefficient[k]);
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      (L::load(sum + b * L::kSize) + a * block[b]).store(sum + b * L::kSize);
    }
  }
}

template <class E, class T>
void mix(const Active<T>& active, const E* expert, std::int64_t width, T* to) {
  constexpr std::int64_t kSize = Lanes<T>::kSize;
  constexpr int kBlocks = MUMOE_VECTOR_BYTES == 64 ? 8 : 4;
  std::int64_t at = 0;
  for (; at + kBlocks * kSize <= width; at += kBlocks * kSize) {
    mix_blocks<kBlocks>(active, expert, width, at, to);
  }
  for (; at + kSize <= width; at += kSize) {
    mix_blocks<1>(active, expert, width, at, to);
  }
  if (at < width && width >= kSize) {
    mix_blocks<1>(active, expert, width, width - kSize, to);
  } else {
    for (; at < width; ++at) {
      T sum = 0;
      for (std::int64_t k = 0; k < active.count; ++k) {
        sum += active.coefficient[k] *
               load_value(expert[active.expert[k] * width + at]);
      }
      to[at] = sum;
    }
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

/// C[i] = Σ_k A(i, k) B[k] over long rows B[k] of `columns` values; A has
/// strides, so that it may be transposed.
template <class T>
void times_rows(const T* a,
                std::int64_t stride_i,
                std::int64_t stride_k,
                const T* b,
                T* c,
                std::int64_t rows,
                std::int64_t inner,
                std::int64_t columns) {
  using L = Lanes<T>;
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* const ai = a + i * stride_i;
    T* const ci = c + i * columns;
    over_row<T>(
        columns,
        [&](std::int64_t j) {
          L sum = L::all(0);
          for (std::int64_t k = 0; k < inner; ++k) {
            sum = sum + L::all(ai[k * stride_k]) * L::load(b + k * columns + j);
          }
          sum.store(ci + j);
        },
        [&](std::int64_t j) {
          T sum = 0;
          for (std::int64_t k = 0; k < inner; ++k) {
            sum += ai[k * stride_k] * b[k * columns + j];
          }
          ci[j] = sum;
        });
  }
}

/// result(k, x · row(k)) for k < count, four at a time.
template <class X, class Row, class Result>
[[gnu::always_inline]] inline void each_dot(const X* x,
                                            std::int64_t size,
                                            std::int64_t count,
                                            Row row,
                                            Result result) {
  constexpr int kRows = 4;
  using E = std::remove_cv_t<std::remove_pointer_t<decltype(row(0))>>;
  Compute<E> values[kRows];
  std::int64_t k = 0;
  for (; k + kRows <= count; k += kRows) {
    const E* const rows[kRows] = {row(k), row(k + 1), row(k + 2), row(k + 3)};
    dots<kRows>(x, rows, size, values);
    for (int r = 0; r < kRows; ++r) result(k + r, values[r]);
  }
  for (; k < count; ++k) {
    const E* const rows[1] = {row(k)};
    dots<1>(x, rows, size, values);
    result(k, values[0]);
  }
}

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
  std::int64_t experts = 0;
  for (int e = 0; e < s.levels; ++e) {
    m.row[e] = scratch.take(s.mixed[e]);
    experts = s.experts[e] > experts ? s.experts[e] : experts;
  }
  const std::int64_t matrix =
      s.kind == Combination::hadamard ? s.columns : s.rows * s.inner;
  std::int64_t product = matrix;
  for (int e = 0; e <= s.levels; ++e) {
    for (int f = 0; f <= s.levels; ++f) {
      const std::int64_t size = s.ranks[e] * s.ranks[f];
      product = size > product ? size : product;
    }
  }
  for (int e = 0; e < s.levels; ++e) {
    m.before[e] = scratch.take(product);
    m.after[e] = scratch.take(product);
  }
  m.all = scratch.take(matrix);
  m.active = take_active(experts, scratch);
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

template <class T>
void combine_token(const CombineShape& s, const T* g, const T* q, T* c) {
  if (s.kind == Combination::hadamard) return multiply(g, q, c, s.columns);
  times_rows(g, s.inner, 1, q, c, s.rows, s.inner, s.columns);
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

/// Gradients of `combine_token` with respect to g and q.
template <class T>
void combine_token_backward(const CombineShape& s,
                            const T* g,
                            const T* q,
                            const T* dc,
                            T* dg,
                            T* dq) {
  if (s.kind == Combination::hadamard) {
    multiply(dc, g, dq, s.columns);
    multiply(dc, q, dg, s.columns);
    return;
  }
  times_rows(g, 1, s.inner, dc, dq, s.inner, s.rows, s.columns);
  for (std::int64_t i = 0; i < s.rows; ++i) {
    each_dot(
        dc + i * s.columns,
        s.columns,
        s.inner,
        [&](std::int64_t k) { return q + k * s.columns; },
        [&](std::int64_t k, T value) { dg[i * s.inner + k] = value; });
  }
}

/// da[n] = dm · U[n], with dm as it is stored, for the experts whose
/// coefficient is not zero; without `find`, `active` holds them already.
template <class E, class T>
void coefficient_gradient(const E* a,
                          const E* expert,
                          const E* dm,
                          std::int64_t experts,
                          std::int64_t width,
                          bool find,
                          Active<T>& active,
                          E* da) {
  for (std::int64_t n = 0; n < experts; ++n) da[n] = E{};
  if (find) find_active(a, experts, active);
  each_dot(
      dm,
      width,
      active.count,
      [&](std::int64_t k) { return expert + active.expert[k] * width; },
      [&](std::int64_t k, T value) {
        store_value(da[active.expert[k]], value);
      });
}

}  // namespace

template <class E>
void combine_forward(const CombineShape& s,
                     const CombineForward<E>& x,
                     std::int64_t first,
                     std::int64_t last,
                     double* memory) {
  using T = Compute<E>;
  Scratch<T> scratch(memory);
  T* const q = scratch.take(s.projection());
  T* const c = scratch.take(s.result());
  Mixed<T> m = take_mixed(s, scratch);
  for (std::int64_t t = first; t < last; ++t) {
    form_mixed(s, x, t, m);
    multiply_levels(s, m);
    load_biased(x.projection + t * s.projection(), x.bias, q, s.projection());
    combine_token(s, m.all, q, c);
    store_row(c, x.result + t * s.result(), s.result());
  }
}

template <class E>
void combine_backward(const CombineShape& s,
                      const CombineBackward<E>& x,
                      std::int64_t first,
                      std::int64_t last,
                      double* memory) {
  using T = Compute<E>;
  Scratch<T> scratch(memory);
  T* const q = scratch.take(s.projection());
  T* const dq = scratch.take(s.projection());
  T* const c = scratch.take(s.result());
  T* const dc = scratch.take(s.result());
  T* const dg = scratch.take(
      s.kind == Combination::hadamard ? s.columns : s.rows * s.inner);
  T* dm[kMaxLevels];
  for (int e = 0; e < s.levels; ++e) dm[e] = scratch.take(s.mixed[e]);
  Mixed<T> m = take_mixed(s, scratch);
  for (std::int64_t t = first; t < last; ++t) {
    form_mixed(s, x, t, m);
    multiply_levels(s, m);
    load_biased(x.projection + t * s.projection(), x.bias, q, s.projection());
    load_row(x.grad_result + t * s.result(), dc, s.result());
    combine_token(s, m.all, q, c);
    store_row(c, x.result + t * s.result(), s.result());
    combine_token_backward(s, m.all, q, dc, dg, dq);
    store_row(dq, x.grad_projection + t * s.projection(), s.projection());
    switch (s.kind) {
      case Combination::hadamard:
        hadamard_backward(s, m, dg, dm);
        break;
      case Combination::ring:
        ring_backward(s, m, dg, dm);
        break;
      case Combination::kronecker:
        kronecker_backward(s, m, dg, dm);
        break;
    }
    for (int e = 0; e < s.levels; ++e) {
      store_row(dm[e], x.grad_mixed[e] + t * s.mixed[e], s.mixed[e]);
      if (x.grad_coefficients[e] == nullptr) continue;
      coefficient_gradient(x.coefficients[e] + t * s.experts[e],
                           x.expert[e],
                           x.grad_mixed[e] + t * s.mixed[e],
                           s.experts[e],
                           s.mixed[e],
                           /*find=*/s.levels > 1 || x.mixed[e] != nullptr,
                           m.active,
                           x.grad_coefficients[e] + t * s.experts[e]);
    }
  }
}

template <class E>
void expert_gradient(const E* coefficients,
                     const E* grad_mixed,
                     E* grad_expert,
                     std::int64_t rows,
                     std::int64_t experts,
                     std::int64_t width,
                     std::int64_t first,
                     std::int64_t last,
                     bool accumulate,
                     double* memory) {
  using T = Compute<E>;
  constexpr int kBlocks = MUMOE_VECTOR_BYTES == 64 ? 8 : 4;
  constexpr std::int64_t kSize = Lanes<T>::kSize;
  const std::int64_t columns = last - first;
  Scratch<T> scratch(memory);
  T* const sums = scratch.take(experts * columns);
  Active<T> active = take_active(experts, scratch);
  for (std::int64_t i = 0; i < experts * columns; ++i) sums[i] = 0;
  for (std::int64_t t = 0; t < rows; ++t) {
    const E* const dm = grad_mixed + t * width + first;
    find_active(coefficients + t * experts, experts, active);
    std::int64_t i = 0;
    for (; i + kBlocks * kSize <= columns; i += kBlocks * kSize) {
      add_scaled<kBlocks>(active, dm, i, columns, sums);
    }
    for (; i + kSize <= columns; i += kSize) {
      add_scaled<1>(active, dm, i, columns, sums);
    }
    for (; i < columns; ++i) {
      for (std::int64_t k = 0; k < active.count; ++k) {
        sums[active.expert[k] * columns + i] +=
            active.coefficient[k] * load_value(dm[i]);
      }
    }
  }
  for (std::int64_t n = 0; n < experts; ++n) {
    for (std::int64_t i = 0; i < columns; ++i) {
      E& to = grad_expert[n * width + first + i];
      const T sum = sums[n * columns + i];
      store_value(to, accumulate ? load_value(to) + sum : sum);
    }
  }
}

template <class E>
std::int64_t count_nonzero(const E* values, std::int64_t count) {
  std::int64_t found = 0, i = 0;
  for (; i + 16 <= count; i += 16) {
    found += __builtin_popcount(nonzero_bits(values + i));
  }
  for (; i < count; ++i) found += load_value(values[i]) != 0;
  return found;
}

#define MUMOE_INSTANTIATE(E)                                   \
  template void combine_forward<E>(const CombineShape&,        \
                                   const CombineForward<E>&,   \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   double*);                   \
  template void combine_backward<E>(const CombineShape&,       \
                                    const CombineBackward<E>&, \
                                    std::int64_t,              \
                                    std::int64_t,              \
                                    double*);                  \
  template void expert_gradient<E>(const E*,                   \
                                   const E*,                   \
                                   E*,                         \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   std::int64_t,               \
                                   bool,                       \
                                   double*);                   \
  template std::int64_t count_nonzero<E>(const E*, std::int64_t);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels::MUMOE_ISA
