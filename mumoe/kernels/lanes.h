#pragma once

// For files compiled once per instruction set (MUMOE_ISA); everything lives in
// the namespace of that set, since the linker merges equal names.

#include <cstdint>
#include <type_traits>

#if defined(__AVX512F__)
#define MUMOE_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define MUMOE_VECTOR_BYTES 32
#else
#define MUMOE_VECTOR_BYTES 16
#endif

namespace mumoe::kernels::MUMOE_ISA {

/// 64 bytes of `T`, side by side: one AVX-512 register, two of AVX2 or four of
/// SSE2. A sum kept in lanes and folded by `sum()` adds the same numbers in the
/// same order on every instruction set, so its value is the same everywhere.
template <class T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(MUMOE_VECTOR_BYTES)));
  typedef T InMemory __attribute__((vector_size(MUMOE_VECTOR_BYTES),
                                    aligned(alignof(T)),
                                    may_alias));
  static constexpr int kSize = 64 / sizeof(T);
  static constexpr int kParts = 64 / MUMOE_VECTOR_BYTES;

  Vector part[kParts];

  /// Every lane `value`.
  static Lanes all(T value) {
    return each([&](int) { return value - Vector{}; });
  }
  /// `kSize` values; no alignment needed.
  static Lanes load(const T* from) {
    const auto* parts = reinterpret_cast<const InMemory*>(from);
    return each([&](int p) { return Vector(parts[p]); });
  }
  /// The same of another type, converted.
  template <class From>
  static Lanes load_converted(const From* from) {
    typedef From Part __attribute__((
        vector_size(MUMOE_VECTOR_BYTES / sizeof(T) * sizeof(From)),
        aligned(alignof(From)),
        may_alias));
    const auto* parts = reinterpret_cast<const Part*>(from);
    return each(
        [&](int p) { return __builtin_convertvector(parts[p], Vector); });
  }
  void store(T* to) const {
    auto* parts = reinterpret_cast<InMemory*>(to);
#pragma GCC unroll 4
    for (int p = 0; p < kParts; ++p) parts[p] = part[p];
  }

  friend Lanes operator+(const Lanes& a, const Lanes& b) {
    return each([&](int p) { return a.part[p] + b.part[p]; });
  }
  friend Lanes operator-(const Lanes& a, const Lanes& b) {
    return each([&](int p) { return a.part[p] - b.part[p]; });
  }
  friend Lanes operator*(const Lanes& a, const Lanes& b) {
    return each([&](int p) { return a.part[p] * b.part[p]; });
  }
  /// Lane by lane a where a > b, else b: a NaN in `a` is dropped.
  friend Lanes max(const Lanes& a, const Lanes& b) {
    return each(
        [&](int p) { return a.part[p] > b.part[p] ? a.part[p] : b.part[p]; });
  }
  friend Lanes min(const Lanes& a, const Lanes& b) {
    return each(
        [&](int p) { return a.part[p] < b.part[p] ? a.part[p] : b.part[p]; });
  }
  /// Lane by lane `low` where a ≤ b, else `high`: also where a or b is NaN.
  friend Lanes where_at_most(const Lanes& a,
                             const Lanes& b,
                             const Lanes& low,
                             const Lanes& high) {
    return each([&](int p) {
      return a.part[p] <= b.part[p] ? low.part[p] : high.part[p];
    });
  }

  /// The sum of the lanes, pairwise: (l₀ + l_{k/2}) + …
  T sum() const {
    return fold([](Vector a, Vector b) { return a + b; });
  }
  T maximum() const {
    return fold([](Vector a, Vector b) { return a > b ? a : b; });
  }
  T minimum() const {
    return fold([](Vector a, Vector b) { return a < b ? a : b; });
  }

 private:
  template <class F>
  [[gnu::always_inline]] static Lanes each(F f) {
    Lanes result;
#pragma GCC unroll 4
    for (int p = 0; p < kParts; ++p) result.part[p] = f(p);
    return result;
  }
  /// Folds upper halves onto lower ones: whole registers, then by shuffles.
  template <class F>
  [[gnu::always_inline]] T fold(F f) const {
    constexpr int kHalf = kSize / kParts / 2;
    if constexpr (kParts == 1) {
      return fold_half<kHalf>(part[0], f);
    } else if constexpr (kParts == 2) {
      return fold_half<kHalf>(f(part[0], part[1]), f);
    } else {
      const Vector even = f(part[0], part[2]), odd = f(part[1], part[3]);
      return fold_half<kHalf>(f(even, odd), f);
    }
  }
  template <int kHalf, class F>
  [[gnu::always_inline]] static T fold_half(Vector v, F f) {
    typedef std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t> Index
        __attribute__((vector_size(MUMOE_VECTOR_BYTES)));
    Index upper;
#pragma GCC unroll 16
    for (int i = 0; i < kSize / kParts; ++i) upper[i] = i ^ kHalf;
    const Vector folded = f(v, __builtin_shuffle(v, upper));
    if constexpr (kHalf > 1) {
      return fold_half<kHalf / 2>(folded, f);
    } else {
      return folded[0];
    }
  }
};

}  // namespace mumoe::kernels::MUMOE_ISA
