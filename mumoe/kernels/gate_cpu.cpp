// Compiled once per instruction set; see mumoe/kernels/gate.h for the
// equations. Forward takes rows in small groups, stage by stage: what one row
// waits for (sums over lanes, divisions) overlaps with work on the next.
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/gate_lanes.h"

namespace mumoe::kernels::MUMOE_ISA {

constexpr double kEps = 1e-5;   // of the layer norm
constexpr int kMaxPasses = 64;  // a bound; 1 to 4 are usual, NaN takes 1
constexpr int kGroup = 4;       // rows that forward takes at a time
constexpr int kStartSteps = 3;  // on the largest values of the lanes

/// A row of scratch memory: whole 64-byte blocks.
constexpr std::int64_t padded_size(std::int64_t experts) {
  return (experts + 15) / 16 * 16;
}

/// The largest value of each lane, over the even and over the odd blocks of a
/// row; NaN is dropped.
template <class T>
struct Maxima {
  Lanes<T> even = Lanes<T>::all(-infinity<T>());
  Lanes<T> odd = even;

  T maximum() const { return max(even, odd).maximum(); }
};

/// Copies a row to scratch memory and pads it with −∞.
template <class E, class T>
Maxima<T> load_row(const E* from, const Row<T>& to) {
  using L = Lanes<T>;
  fetch(from, to, -infinity<T>());
  Maxima<T> best;
  std::int64_t i = 0;
  for (; i + L::kSize < to.padded; i += 2 * L::kSize) {
    best.even = max(to.at(i), best.even);
    best.odd = max(to.at(i + L::kSize), best.odd);
  }
  if (i < to.padded) best.even = max(to.at(i), best.even);
  return best;
}

/// row ← row − shift; returns the sum of the result.
template <class T>
T shift_and_sum(const Row<T>& row, T shift) {
  using L = Lanes<T>;
  row.pad(shift);
  const L shifts = L::all(shift);
  L sum = L::all(0);
  for (std::int64_t i = 0; i < row.padded; i += L::kSize) {
    const L y = row.at(i) - shifts;
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
    const L d = row.at(i) - centres;
    sum = sum + d * d;
  }
  return sum.sum();
}

/// 1 / √(var + eps); an overflow must not pass for a row of equal logits.
template <class T>
T reciprocal_deviation(T variance) {
  const T nan_if_infinite = variance - variance;
  return 1 / root(variance + static_cast<T>(kEps)) + nan_if_infinite;
}

/// x = (row − shift) · scale, the form in which entmax takes a row.
template <class T>
struct Affine {
  T shift;
  T scale;

  Lanes<T> operator()(const Lanes<T>& row) const {
    return (row - Lanes<T>::all(shift)) * Lanes<T>::all(scale);
  }
};

/// The norm of a row of logits whose maximum is `top`, as what remains to be
/// done to the row. The layer norm's statistics are those of ℓ − max ℓ, left
/// in `row`: a row of equal logits then has variance 0 exactly, however large
/// they are.
template <class T>
Affine<T> normalise(const Row<T>& row, T top, RowNorm norm) {
  if (norm == RowNorm::none) return {top, T(0.5)};
  const T count = static_cast<T>(row.size);
  const T mean = shift_and_sum(row, top) / count;
  const T rstd = reciprocal_deviation(sum_of_squares(row, mean) / count);
  row.pad(-infinity<T>());
  return {0, rstd / 2};
}

/// [x − τ]₊, and NaN where x or τ is.
template <class T>
Lanes<T> excess_over(const Lanes<T>& x, const Lanes<T>& taus) {
  return where_at_most(x, taus, Lanes<T>::all(0), x - taus);
}

/// Lower bounds of τ for a group of rows, close to it.
///
/// The largest values of the lanes are elements of the row, and entmax of fewer
/// elements has a smaller τ: a few Newton steps on two blocks stand for as many
/// on the row.
template <class T, int kRows>
void start_thresholds(const Maxima<T> (&maxima)[kRows], T (&tau)[kRows]) {
  for (T& t : tau) t = -1;
  for (int step = 0; step < kStartSteps; ++step) {
    for (int r = 0; r < kRows; ++r) {
      const Lanes<T> taus = Lanes<T>::all(tau[r]);
      const Lanes<T> even = excess_over(maxima[r].even, taus);
      const Lanes<T> odd = excess_over(maxima[r].odd, taus);
      const T sum = (even + odd).sum();
      const T squares = (even * even + odd * odd).sum();
      tau[r] += (squares - 1) / (2 * sum);
    }
  }
}

/// What one pass over x learns about f(τ) = Σ [x − τ]₊² − 1.
template <class T>
struct Support {
  T sum;       // Σ [x − τ]₊
  T squares;   // Σ [x − τ]₊²
  T count;     // of x > τ
  T smallest;  // x above τ
};

/// Applies `affine` to the row first. Register by register rather than block by
/// block: AVX2 has just enough of them to keep all sums.
template <class T>
Support<T> support_above(const Row<T>& x, const Affine<T> affine, T tau) {
  using L = Lanes<T>;
  using V = typename L::Vector;
  using Memory = typename L::InMemory;
  const V taus = L::all(tau).part[0];
  const V shifts = L::all(affine.shift).part[0];
  const V scales = L::all(affine.scale).part[0];
  const V zero = {};
  const V one = zero + 1;
  const V none = zero + infinity<T>();
  L sum = L::all(0), squares = sum, count = sum;
  L smallest = L::all(infinity<T>());
  for (std::int64_t i = 0; i < x.padded; i += L::kSize) {
    auto* const parts = reinterpret_cast<Memory*>(x.data + i);
#pragma GCC unroll 4
    for (int p = 0; p < L::kParts; ++p) {
      const V v = (parts[p] - shifts) * scales;
      parts[p] = v;
      const auto outside = v <= taus;
      const V d = outside ? zero : v - taus;
      sum.part[p] += d;
      squares.part[p] += d * d;
      count.part[p] += outside ? zero : one;
      const V inside = outside ? none : v;
      smallest.part[p] = inside < smallest.part[p] ? inside : smallest.part[p];
    }
  }
  return {sum.sum(), squares.sum(), count.sum(), smallest.minimum()};
}

/// The root τ of f, for x ≤ 0 with max x = 0, where x is `row` after `affine`
/// (left there); `tau` is a lower bound of at least −1.
///
/// f is convex and decreasing, and f ≥ 0 at the start, so Newton's steps never
/// pass the root. On the support S of the root f is the quadratic
///   |S| δ² − 2 s₁ δ + s₂ − 1 = 0,   δ = (s₂ − 1) / (s₁ + √(s₁² − |S|(s₂ −
///   1))),
/// taken as the step when no element of the current support falls below it:
/// then S is the support of the root, and the step is exact but for rounding.
/// A long step is followed by another pass, since its square root cancels.
template <class T>
T entmax_threshold(const Row<T>& row, Affine<T> affine, T tau) {
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    const Support<T> s = support_above(row, affine, tau);
    affine = {0, 1};
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
void gate_forward(void*,
                  const E* logits,
                  E* coefficients,
                  std::int64_t rows,
                  std::int64_t experts,
                  RowNorm norm) {
  using T = Compute<E>;
  using L = Lanes<T>;
  const std::int64_t padded = padded_size(experts);
  const ScratchMemory memory(kGroup * padded);
  T* const scratch = reinterpret_cast<T*>(memory.data);
  for (std::int64_t t = 0; t < rows; t += kGroup) {
    const std::int64_t group = rows - t < kGroup ? rows - t : kGroup;
    Maxima<T> maxima[kGroup];
    Affine<T> affine[kGroup];
    T tau[kGroup];
    for (std::int64_t r = 0; r < group; ++r) {
      const Row<T> row{scratch + r * padded, experts, padded};
      maxima[r] = load_row(logits + (t + r) * experts, row);
      const T top = maxima[r].maximum();
      affine[r] = normalise(row, top, norm);
      // To the last bit what the row becomes.
      const T shift = norm == RowNorm::none ? T(0) : top;
      const Affine<T> shifted{shift, 1};
      maxima[r].even = affine[r](shifted(maxima[r].even));
      maxima[r].odd = affine[r](shifted(maxima[r].odd));
    }
    start_thresholds(maxima, tau);
    for (std::int64_t r = 0; r < group; ++r) {
      const Row<T> x{scratch + r * padded, experts, padded};
      const L taus = L::all(entmax_threshold(x, affine[r], tau[r]));
      write_row(coefficients + (t + r) * experts, x, [&](auto i) {
        const L d = excess_over(x.at(i), taus);
        return d * d;
      });
    }
  }
}

/// Σ s and Σ s∘g, with s = √a.
template <class T>
struct RootSums {
  T roots;
  T weighted;
};

/// Leaves s and g in scratch memory; g is 0 where a is, whatever was there.
template <class E, class T>
RootSums<T> load_roots(const E* coefficients,
                       const E* grad_coefficients,
                       const Row<T>& s,
                       const Row<T>& g) {
  using L = Lanes<T>;
  fetch(coefficients, s, T(0));
  fetch(grad_coefficients, g, T(0));
  const L zero = L::all(0);
  L roots = zero, weighted = zero;
  for (std::int64_t i = 0; i < s.padded; i += L::kSize) {
    const L a = s.at(i);
    const L si = root(a);
    const L gi = where_at_most(a, zero, zero, g.at(i));
    si.store(s.data + i);
    gi.store(g.data + i);
    roots = roots + si;
    weighted = weighted + si * gi;
  }
  return {roots.sum(), weighted.sum()};
}

template <class E>
void gate_backward(void*,
                   const E* logits,
                   const E* coefficients,
                   const E* grad_coefficients,
                   E* grad_logits,
                   std::int64_t rows,
                   std::int64_t experts,
                   RowNorm norm) {
  using T = Compute<E>;
  using L = Lanes<T>;
  const std::int64_t padded = padded_size(experts);
  const ScratchMemory memory(3 * padded);
  T* const scratch = reinterpret_cast<T*>(memory.data);
  const T count = static_cast<T>(experts);
  const Row<T> s{scratch, experts, padded};
  const Row<T> g{scratch + padded, experts, padded};
  const Row<T> y{scratch + 2 * padded, experts, padded};
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::int64_t at = t * experts;
    const RootSums<T> sums =
        load_roots(coefficients + at, grad_coefficients + at, s, g);
    const L mean_g = L::all(sums.weighted / sums.roots);
    const auto entmax = [&](std::int64_t i) {
      return s.at(i) * (g.at(i) - mean_g);
    };
    if (norm == RowNorm::none) {
      write_row(grad_logits + at, s, entmax);
      continue;
    }
    const T top = load_row(logits + at, y).maximum();
    const T mean = shift_and_sum(y, top) / count;
    y.pad(mean);
    const L means = L::all(mean);
    L squares = L::all(0), correlation = squares;
    for (std::int64_t i = 0; i < padded; i += L::kSize) {
      const L centred = y.at(i) - means;
      const L d = entmax(i);
      d.store(s.data + i);
      squares = squares + centred * centred;
      correlation = correlation + d * centred;
    }
    const T rstd = reciprocal_deviation(squares.sum() / count);
    // x̂ · mean(d∘x̂) = (y − mean) · rstd² · Σ d∘(y − mean) / N
    const L slope = L::all(rstd * rstd * correlation.sum() / count);
    write_row(grad_logits + at, s, [&](auto i) {
      return L::all(rstd) * (s.at(i) - (y.at(i) - means) * slope);
    });
  }
}

const GateRow gate_row = {{gate_forward<float>, gate_backward<float>},
                          {gate_forward<double>, gate_backward<double>},
                          {gate_forward<Bf16>, gate_backward<Bf16>}};

}  // namespace mumoe::kernels::MUMOE_ISA
