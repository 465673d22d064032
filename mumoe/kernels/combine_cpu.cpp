// Compiled once per instruction set; see mumoe/kernels/combine.h for the
// equations. Works on one token at a time: its mixed rows, q + b and dc stay in
// the first-level cache, in the compute type.
#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/combine_levels.h"
#include "mumoe/kernels/combine_mix.h"

namespace mumoe::kernels::MUMOE_ISA {
namespace {

/// The mixed rows, their gradients and products, G and its gradient, q + b, dc
/// and the active experts, in values of 8 bytes.
std::int64_t scratch_values(const CombineShape& shape) {
  std::int64_t mixed = 0;
  for (int e = 0; e < shape.levels; ++e) mixed += shape.mixed[e];
  return 2 * mixed + 2 * shape.product() +
         (2 * kMaxLevels + 4) * shape.longest_product() +
         2 * shape.projection() + 2 * shape.result() +
         2 * shape.most_experts() + 256;
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

template <class T>
void combine_token(const CombineShape& s, const T* g, const T* q, T* c) {
  if (s.kind == Combination::hadamard) return multiply(g, q, c, s.columns);
  times_rows(g, s.inner, 1, q, c, s.rows, s.inner, s.columns);
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
void combine_forward(void*,
                     const CombineShape& s,
                     const CombineForward<E>& x,
                     std::int64_t first,
                     std::int64_t last) {
  using T = Compute<E>;
  const ScratchMemory memory(scratch_values(s));
  Scratch<T> scratch(memory.data);
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
void combine_backward(void*,
                      const CombineShape& s,
                      const CombineBackward<E>& x,
                      std::int64_t first,
                      std::int64_t last) {
  using T = Compute<E>;
  const ScratchMemory memory(scratch_values(s));
  Scratch<T> scratch(memory.data);
  T* const q = scratch.take(s.projection());
  T* const dq = scratch.take(s.projection());
  T* const c = scratch.take(s.result());
  T* const dc = scratch.take(s.result());
  T* const dg = scratch.take(s.product());
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
                     bool accumulate) {
  using T = Compute<E>;
  constexpr int kBlocks = MUMOE_VECTOR_BYTES == 64 ? 8 : 4;
  constexpr std::int64_t kSize = Lanes<T>::kSize;
  const std::int64_t columns = last - first;
  // The sums, and the active experts of a token.
  const ScratchMemory memory(experts * (last - first + 2) + 32);
  Scratch<T> scratch(memory.data);
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
void count_nonzero(void* /*stream*/,
                   const E* values,
                   std::int64_t count,
                   std::int64_t* sum) {
  std::int64_t found = 0, i = 0;
  for (; i + 16 <= count; i += 16) {
    found += __builtin_popcount(nonzero_bits(values + i));
  }
  for (; i < count; ++i) found += load_value(values[i]) != 0;
  *sum += found;
}

const CombineRow combine_row = {
    {combine_forward<float>, combine_backward<float>, count_nonzero<float>},
    {combine_forward<double>, combine_backward<double>, count_nonzero<double>},
    {combine_forward<Bf16>, combine_backward<Bf16>, count_nonzero<Bf16>}};
const MixingRow mixing_row = {{expert_gradient<float>},
                              {expert_gradient<double>},
                              {expert_gradient<Bf16>}};

}  // namespace mumoe::kernels::MUMOE_ISA
