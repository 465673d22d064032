// Compiled once per instruction set; see mumoe/kernels/gate.h for the
// equations. Works on one row at a time, in a scratch row padded to whole
// blocks of lanes: the padding is set before each pass to a value that does not
// change what the pass computes.
#include "mumoe/kernels/gate_isa.h"
#include "mumoe/kernels/lanes.h"

namespace mumoe::kernels::MUMOE_ISA {

constexpr double kEps = 1e-5;   // of the layer norm
constexpr int kMaxPasses = 64;  // a bound; 4 to 8 are usual, NaN takes 1

inline float root(float x) {
  return __builtin_sqrtf(x);
}
inline double root(double x) {
  return __builtin_sqrt(x);
}

template <class T>
constexpr T infinity() {
  return static_cast<T>(__builtin_inff());
}

/// A row in scratch memory: `size` values, then padding up to `padded`.
template <class T>
struct Row {
  T* data;
  std::int64_t size;
  std::int64_t padded;

  void pad(T value) const {
    for (std::int64_t i = size; i < padded; ++i) data[i] = value;
  }
};

template <class E, class T>
void load_row(const E* from, const Row<T>& to) {
  for (std::int64_t i = 0; i < to.size; ++i) to.data[i] = load_value(from[i]);
}

template <class T>
T maximum(const Row<T>& row) {
  using L = Lanes<T>;
  row.pad(row.data[0]);
  L best = L::all(-infinity<T>());
  for (std::int64_t i = 0; i < row.padded; i += L::kSize) {
    best = max(L::load(row.data + i), best);
  }
  return best.maximum();
}

/// row ← row − shift; returns the sum of the result.
template <class T>
T shift_and_sum(const Row<T>& row, T shift) {
  using L = Lanes<T>;
  row.pad(shift);
  const L shifts = L::all(shift);
  L sum = L::all(0);
  for (std::int64_t i = 0; i < row.padded; i += L::kSize) {
    const L y = L::load(row.data + i) - shifts;
    y.store(row.data + i);
    sum = sum + y;
  }
  return sum.sum();
}

/// Σ (row − centre)².
template <class T>
T sum_of_squares(const Row<T>& row, T centre) {
  using L = Lanes<T>;
  row.pad(centre);
  const L centres = L::all(centre);
  L sum = L::all(0);
  for (std::int64_t i = 0; i < row.padded; i += L::kSize) {
    const L d = L::load(row.data + i) - centres;
    sum = sum + d * d;
  }
  return sum.sum();
}

/// Statistics of a row of logits, shifted so that its maximum is 0: a row of
/// equal logits then has variance 0 exactly, however large they are.
template <class T>
struct Statistics {
  T mean;  // of the shifted row
  T rstd;  // 1 / √(var + eps)
};

/// Leaves ℓ − max ℓ in `row`.
template <class T>
Statistics<T> standardise(const Row<T>& row, GateNorm norm) {
  const T sum = shift_and_sum(row, maximum(row));
  if (norm == GateNorm::none) return {0, 1};
  const T count = static_cast<T>(row.size);
  const T mean = sum / count;
  const T variance = sum_of_squares(row, mean) / count;
  // ∞ − ∞: an overflow must not pass for a row of equal logits.
  const T nan_if_infinite = variance - variance;
  return {mean, 1 / root(variance + static_cast<T>(kEps)) + nan_if_infinite};
}

/// What one pass over x learns about f(τ) = Σ [x − τ]₊² − 1.
template <class T>
struct Support {
  T sum;       // Σ [x − τ]₊
  T squares;   // Σ [x − τ]₊²
  T count;     // of x > τ
  T smallest;  // x above τ
};

template <class T>
Support<T> support_above(const Row<T>& x, T tau) {
  using L = Lanes<T>;
  const L taus = L::all(tau);
  const L zero = L::all(0);
  const L one = L::all(1);
  const L none = L::all(infinity<T>());
  L sum = zero, squares = zero, count = zero, smallest = none;
  for (std::int64_t i = 0; i < x.padded; i += L::kSize) {
    const L v = L::load(x.data + i);
    const L d = where_at_most(v, taus, zero, v - taus);
    sum = sum + d;
    squares = squares + d * d;
    count = count + where_at_most(v, taus, zero, one);
    smallest = min(where_at_most(v, taus, none, v), smallest);
  }
  return {sum.sum(), squares.sum(), count.sum(), smallest.minimum()};
}

/// The root τ of f, for x ≤ 0 with max x = 0.
///
/// f is convex and decreasing, and f(−1) ≥ 0, so Newton's steps from −1 never
/// pass the root. On the support S of the root f is the quadratic
///   |S| δ² − 2 s₁ δ + s₂ − 1 = 0,   δ = (s₂ − 1) / (s₁ + √(s₁² − |S|(s₂ −
///   1))),
/// taken as the step when no element of the current support falls below it:
/// then S is the support of the root, and the step is exact but for rounding.
/// A long step is followed by another pass, since its square root cancels.
template <class T>
T entmax_threshold(const Row<T>& x) {
  T tau = -1;
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    const Support<T> s = support_above(x, tau);
    const T excess = s.squares - 1;
    const T newton = excess / (2 * s.sum);
    const T under_root = s.sum * s.sum - s.count * excess;
    const T exact =
        under_root >= 0 ? excess / (s.sum + root(under_root)) : newton;
    if (s.smallest >= tau + exact && under_root >= 0) {
      tau += exact;
      const T length = exact < 0 ? -exact : exact;
      if (4 * s.count * length <= s.sum) return tau;
    } else {
      if (tau + newton == tau) return tau;
      tau += newton;
    }
    if (!(tau <= 0)) break;  // NaN
  }
  return tau;
}

template <class E>
void gate_forward(const E* logits,
                  E* coefficients,
                  std::int64_t rows,
                  std::int64_t experts,
                  GateNorm norm,
                  Compute<E>* scratch) {
  using T = Compute<E>;
  const Row<T> x{scratch, experts, gate_scratch_size(experts) / 3};
  for (std::int64_t t = 0; t < rows; ++t) {
    load_row(logits + t * experts, x);
    const T half = standardise(x, norm).rstd / 2;
    for (std::int64_t n = 0; n < x.size; ++n) x.data[n] *= half;
    x.pad(-infinity<T>());
    const T tau = entmax_threshold(x);
    E* a = coefficients + t * experts;
    for (std::int64_t n = 0; n < experts; ++n) {
      const T d = x.data[n] <= tau ? 0 : x.data[n] - tau;
      store_value(a[n], d * d);
    }
  }
}

/// d = s∘g − s · (Σ s∘g / Σ s) with s = √a, left in `s`; `g` is scratch.
template <class T>
void entmax_backward(const Row<T>& s, const Row<T>& g) {
  using L = Lanes<T>;
  s.pad(0);
  g.pad(0);
  for (std::int64_t i = 0; i < s.size; ++i) {
    g.data[i] = s.data[i] == 0 ? 0 : g.data[i];
    s.data[i] = root(s.data[i]);
  }
  L sum = L::all(0), weighted = L::all(0);
  for (std::int64_t i = 0; i < s.padded; i += L::kSize) {
    const L si = L::load(s.data + i);
    sum = sum + si;
    weighted = weighted + si * L::load(g.data + i);
  }
  const T mean = weighted.sum() / sum.sum();
  for (std::int64_t i = 0; i < s.size; ++i) {
    s.data[i] = s.data[i] * (g.data[i] - mean);
  }
}

/// Σ d ∘ (y − mean), with d padded by zeros.
template <class T>
T correlation(const Row<T>& d, const Row<T>& y, T mean) {
  using L = Lanes<T>;
  y.pad(mean);
  const L means = L::all(mean);
  L sum = L::all(0);
  for (std::int64_t i = 0; i < d.padded; i += L::kSize) {
    sum = sum + L::load(d.data + i) * (L::load(y.data + i) - means);
  }
  return sum.sum();
}

template <class E>
void gate_backward(const E* logits,
                   const E* coefficients,
                   const E* grad_coefficients,
                   E* grad_logits,
                   std::int64_t rows,
                   std::int64_t experts,
                   GateNorm norm,
                   Compute<E>* scratch) {
  using T = Compute<E>;
  const std::int64_t padded = gate_scratch_size(experts) / 3;
  const Row<T> y{scratch, experts, padded};
  const Row<T> d{scratch + padded, experts, padded};
  const Row<T> g{scratch + 2 * padded, experts, padded};
  for (std::int64_t t = 0; t < rows; ++t) {
    E* const out = grad_logits + t * experts;
    load_row(coefficients + t * experts, d);
    load_row(grad_coefficients + t * experts, g);
    entmax_backward(d, g);
    if (norm == GateNorm::none) {
      for (std::int64_t n = 0; n < experts; ++n) store_value(out[n], d.data[n]);
      continue;
    }
    load_row(logits + t * experts, y);
    const auto [mean, rstd] = standardise(y, norm);
    // x̂ · mean(d∘x̂) = (y − mean) · rstd² · Σ d∘(y − mean) / N
    const T slope =
        rstd * rstd * correlation(d, y, mean) / static_cast<T>(experts);
    for (std::int64_t n = 0; n < experts; ++n) {
      store_value(out[n], rstd * (d.data[n] - (y.data[n] - mean) * slope));
    }
  }
}

#define MUMOE_INSTANTIATE(E)                   \
  template void gate_forward<E>(const E*,      \
                                E*,            \
                                std::int64_t,  \
                                std::int64_t,  \
                                GateNorm,      \
                                Compute<E>*);  \
  template void gate_backward<E>(const E*,     \
                                 const E*,     \
                                 const E*,     \
                                 E*,           \
                                 std::int64_t, \
                                 std::int64_t, \
                                 GateNorm,     \
                                 Compute<E>*);

MUMOE_INSTANTIATE(float)
MUMOE_INSTANTIATE(double)
MUMOE_INSTANTIATE(Bf16)

}  // namespace mumoe::kernels::MUMOE_ISA
