// Compiled once per instruction set; see mumoe/kernels/gelu.h for the
// equations.
#include <type_traits>

#include "mumoe/kernels/gelu.h"
#include "mumoe/kernels/rows.h"

namespace mumoe::kernels::MUMOE_ISA {
namespace {

typedef float Floats __attribute__((vector_size(MUMOE_VECTOR_BYTES)));
typedef std::int32_t Ints __attribute__((vector_size(MUMOE_VECTOR_BYTES)));

/// The standard normal distribution at x: Φ(x) and φ(x).
template <class V>
struct Normal {
  V below;
  V density;
};

/// p₀ + p₁ x + …, by Horner's rule.
template <std::size_t kCount>
[[gnu::always_inline]] inline Floats polynomial(const float (&p)[kCount],
                                                Floats x) {
  Floats sum = Floats{} + p[kCount - 1];
#pragma GCC unroll 16
  for (std::size_t i = kCount - 1; i > 0; --i) sum = sum * x + p[i - 1];
  return sum;
}

/// Minimax polynomials of e^x on ±ln(2)/2 and, with t = 1/(1 + kStretch z) and
/// z in [0, 9.5], of e^{z²} erfc(z) / t.
struct Fine {  // relative errors 2e-9 and 2e-8
  static constexpr float kStretch = 0.3F;
  static constexpr float kExponential[] = {1.000000001F,
                                           1.000000036F,
                                           4.999999208e-01F,
                                           1.666642017e-01F,
                                           4.166822559e-02F,
                                           8.374815797e-03F,
                                           1.383684464e-03F};
  static constexpr float kTail[] = {1.691896147e-01F,
                                    1.706919357e-01F,
                                    1.484824267e-01F,
                                    2.144362854e-01F,
                                    -9.363125709e-02F,
                                    5.463950486e-01F,
                                    -5.112264437e-01F,
                                    4.850964503e-01F,
                                    -1.294340802e-01F};
};
struct Coarse {  // 7e-5 and 9e-6; bf16 rounds by up to 2e-3
  static constexpr float kStretch = 0.45F;
  static constexpr float kExponential[] = {9.999280736e-01F,
                                           1.000164189F,
                                           5.049632624e-01F,
                                           1.656683892e-01F};
  static constexpr float kTail[] = {2.538957582e-01F,
                                    2.524342528e-01F,
                                    2.457312686e-01F,
                                    9.428995597e-02F,
                                    2.882188421e-01F,
                                    -1.345790168e-01F};
};

/// e^x for x ≤ 0; 0 below −87; NaN stays NaN.
template <class Series>
[[gnu::always_inline]] inline Floats exponential(Floats x) {
  constexpr float kLog2E = 1.44269504F;
  // ln 2 in two parts: the first has few digits, so that n times it is exact.
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  const Floats lowest = Floats{} - 87.0F;
  const Floats clamped = x < lowest ? lowest : x;
  const Ints n = __builtin_convertvector(clamped * kLog2E - 0.5F, Ints);
  const Floats whole = __builtin_convertvector(n, Floats);
  const Floats r = (clamped - whole * kLn2High) - whole * kLn2Low;
  const Floats p = polynomial(Series::kExponential, r);
  const Floats scale = (Floats)((n + 127) << 23);
  return x < lowest ? Floats{} : p * scale;
}

/// With z = |x|/√2:  Φ(−|x|) = ½ e^{−z²} · e^{z²} erfc(z). One exponential
/// serves Φ and φ.
template <class Series>
[[gnu::always_inline]] inline Normal<Floats> normal(Floats x) {
  constexpr float kRootHalf = 0.707106781F;
  constexpr float kInverseRootTwoPi = 0.398942280F;
  const Floats magnitude = x < 0 ? -x : x;
  const Floats t = 1.0F / (1.0F + Series::kStretch * kRootHalf * magnitude);
  const Floats e = exponential<Series>(-0.5F * x * x);
  const Floats tail = 0.5F * e * t * polynomial(Series::kTail, t);
  return {x < 0 ? tail : 1.0F - tail, kInverseRootTwoPi * e};
}

inline Normal<double> normal(double x) {
  constexpr double kRootHalf = 0.70710678118654752440;
  constexpr double kInverseRootTwoPi = 0.39894228040143267794;
  return {0.5 * __builtin_erfc(-x * kRootHalf),
          kInverseRootTwoPi * __builtin_exp(-0.5 * x * x)};
}

/// `grad` ← grad (Φ(x) + x φ(x)) and y = x Φ(x) of a block of doubles. Never
/// inlined: two copies may round differently (which product the compiler fuses
/// with the sum), and values must not depend on where a block stands.
[[gnu::noinline]] void gelu_doubles(const double* x, double* grad, double* y) {
  for (int i = 0; i < Lanes<double>::kSize; ++i) {
    const Normal<double> n = normal(x[i]);
    grad[i] *= n.below + x[i] * n.density;
    y[i] = x[i] * n.below;
  }
}

/// dx = dy (Φ(x) + x φ(x)) and y = x Φ(x) of a block of lanes.
template <class E, class T = Compute<E>>
[[gnu::always_inline]] inline void gelu(const Lanes<T>& x,
                                        const Lanes<T>& grad_y,
                                        Lanes<T>& grad_x,
                                        Lanes<T>& y) {
  if constexpr (sizeof(T) == 4) {
#pragma GCC unroll 4
    for (int i = 0; i < Lanes<T>::kParts; ++i) {
      const Floats v = x.part[i];
      using Series = std::conditional_t<sizeof(E) == 2, Coarse, Fine>;
      const Normal<Floats> n = normal<Series>(v);
      grad_x.part[i] = grad_y.part[i] * (n.below + v * n.density);
      y.part[i] = v * n.below;
    }
  } else {
    T in[Lanes<T>::kSize], grad[Lanes<T>::kSize], out[Lanes<T>::kSize];
    x.store(in);
    grad_y.store(grad);
    gelu_doubles(in, grad, out);
    grad_x = Lanes<T>::load(grad);
    y = Lanes<T>::load(out);
  }
}

/// Calls `f(i, size)` for blocks of lanes; the last may have fewer values.
template <class E, class F>
void over_blocks(std::int64_t count, F f) {
  constexpr std::int64_t kSize = Lanes<Compute<E>>::kSize;
  std::int64_t i = 0;
  for (; i + kSize <= count; i += kSize) f(i, kSize);
  if (i < count) f(i, count - i);
}

template <class E>
[[gnu::always_inline]] inline Lanes<Compute<E>> load(const E* from,
                                                     std::int64_t size) {
  constexpr std::int64_t kSize = Lanes<Compute<E>>::kSize;
  if (size == kSize) return Memory<E>::load(from);
  E padded[kSize] = {};
  for (std::int64_t i = 0; i < size; ++i) padded[i] = from[i];
  return Memory<E>::load(padded);
}

template <class E>
[[gnu::always_inline]] inline void store(E* to,
                                         const Lanes<Compute<E>>& value,
                                         std::int64_t size) {
  constexpr std::int64_t kSize = Lanes<Compute<E>>::kSize;
  if (size == kSize) return Memory<E>::store(to, value);
  E padded[kSize];
  Memory<E>::store(padded, value);
  for (std::int64_t i = 0; i < size; ++i) to[i] = padded[i];
}

}  // namespace

template <class E>
void gelu_forward(void*, const E* x, E* y, std::int64_t count) {
  using L = Lanes<Compute<E>>;
  over_blocks<E>(count, [&](std::int64_t i, std::int64_t size) {
    L unused, out;
    gelu<E>(load(x + i, size), L::all(0), unused, out);
    store(y + i, out, size);
  });
}

template <class E>
void gelu_backward(void*,
                   const E* x,
                   const E* grad_y,
                   E* grad_x,
                   E* y,
                   std::int64_t count) {
  using L = Lanes<Compute<E>>;
  over_blocks<E>(count, [&](std::int64_t i, std::int64_t size) {
    L gradient, out;
    gelu<E>(load(x + i, size), load(grad_y + i, size), gradient, out);
    store(grad_x + i, gradient, size);
    if (y != nullptr) store(y + i, out, size);
  });
}

const GeluRow gelu_row = {{gelu_forward<float>, gelu_backward<float>},
                          {gelu_forward<double>, gelu_backward<double>},
                          {gelu_forward<Bf16>, gelu_backward<Bf16>}};

}  // namespace mumoe::kernels::MUMOE_ISA
