#pragma once

// Whole rows of values of any length, for files compiled once per instruction
// set. A length that is no multiple of the lanes ends in a block that overlaps
// the one before it: what is computed twice is written twice, the same.

#include <immintrin.h>

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/lanes.h"

namespace mumoe::kernels::MUMOE_ISA {

/// Eight or sixteen values in memory as lanes of their compute type.
template <class E>
struct Memory {
  using T = Compute<E>;
  static Lanes<T> load(const E* from) { return Lanes<T>::load(from); }
  static void store(E* to, const Lanes<T>& value) { value.store(to); }
};

template <>
struct Memory<Bf16> {
  static constexpr int kPart = MUMOE_VECTOR_BYTES / 4;
  typedef std::uint16_t Half
      __attribute__((vector_size(MUMOE_VECTOR_BYTES / 2), aligned(2)));
  typedef std::uint32_t Word __attribute__((vector_size(MUMOE_VECTOR_BYTES)));

  static Lanes<float> load(const Bf16* from) {
    Lanes<float> value;
#pragma GCC unroll 4
    for (int p = 0; p < Lanes<float>::kParts; ++p) {
      value.part[p] = (Lanes<float>::Vector)widen(from + p * kPart);
    }
    return value;
  }
  /// Rounds as `to_bf16` does; AVX512-BF16 stores denormals as zeros.
  static void store(Bf16* to, const Lanes<float>& value) {
#if defined(__AVX512BF16__)
    const __m256bh half = _mm512_cvtneps_pbh((__m512)value.part[0]);
    __builtin_memcpy(to, &half, sizeof(half));
    return;
#endif
#pragma GCC unroll 4
    for (int p = 0; p < Lanes<float>::kParts; ++p) {
      const Word word = (Word)value.part[p];
      const Word rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
      const Word quiet = (word >> 16) | 0x40u;
      const Word chosen = (word & 0x7fffffffu) > 0x7f800000u ? quiet : rounded;
      const Half half = __builtin_convertvector(chosen, Half);
      __builtin_memcpy(to + p * kPart, &half, sizeof(half));
    }
  }

 private:
  /// The bits of bfloat16 values in the upper halves of words. Spelt out, since
  /// GCC 12 takes the general conversion apart.
  static Word widen(const Bf16* from) {
#if MUMOE_VECTOR_BYTES == 64
    const __m256i half =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    // The masked form: the plain one warns in GCC 12.
    return (Word)_mm512_maskz_cvtepu16_epi32(0xffff, half) << 16;
#elif MUMOE_VECTOR_BYTES == 32
    const __m128i half =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return (Word)_mm256_cvtepu16_epi32(half) << 16;
#else
    const __m128i half =
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    return (Word)_mm_unpacklo_epi16(_mm_setzero_si128(), half);
#endif
  }
};

/// Calls `f(i)` for blocks of lanes that cover 0 … size − 1, and `one(i)` for
/// single values when there are fewer than a block. Only for what may be done
/// twice.
template <class T, class F, class One>
[[gnu::always_inline]] inline void over_row(std::int64_t size, F f, One one) {
  constexpr std::int64_t kSize = Lanes<T>::kSize;
  if (size < kSize) {
    for (std::int64_t i = 0; i < size; ++i) one(i);
    return;
  }
  std::int64_t i = 0;
  for (; i + kSize <= size; i += kSize) f(i);
  if (i < size) f(size - kSize);
}

/// Σ x ∘ y_k for kRows rows y_k, which share the loads of x.
template <int kRows, class X, class E>
[[gnu::always_inline]] inline void dots(const X* x,
                                        const E* const* y,
                                        std::int64_t size,
                                        Compute<E>* result) {
  using T = Compute<E>;
  using L = Lanes<T>;
  L sum[kRows];
  for (int k = 0; k < kRows; ++k) sum[k] = L::all(0);
  std::int64_t i = 0;
  for (; i + L::kSize <= size; i += L::kSize) {
    const L block = Memory<X>::load(x + i);
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
      sum[k] = sum[k] + block * Memory<E>::load(y[k] + i);
    }
  }
  for (int k = 0; k < kRows; ++k) {
    T rest = 0;
    for (std::int64_t j = i; j < size; ++j)
      rest += load_value(x[j]) * load_value(y[k][j]);
    result[k] = sum[k].sum() + rest;
  }
}

/// Which of 16 values are not zero, as bits; NaN is not zero.
inline unsigned nonzero_bits(const Bf16* v) {
  const auto* words = reinterpret_cast<const __m128i*>(v);
  const __m128i zero = _mm_setzero_si128();
  // The sign is shifted out: −0 is zero.
  const __m128i low =
      _mm_cmpeq_epi16(_mm_slli_epi16(_mm_loadu_si128(words), 1), zero);
  const __m128i high =
      _mm_cmpeq_epi16(_mm_slli_epi16(_mm_loadu_si128(words + 1), 1), zero);
  return 0xffffu &
         ~static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
}
inline unsigned nonzero_bits(const float* v) {
  unsigned bits = 0;
  for (int i = 0; i < 4; ++i) {
    const __m128 different =
        _mm_cmpneq_ps(_mm_loadu_ps(v + 4 * i), _mm_setzero_ps());
    bits |= static_cast<unsigned>(_mm_movemask_ps(different)) << (4 * i);
  }
  return bits;
}
inline unsigned nonzero_bits(const double* v) {
  unsigned bits = 0;
  for (int i = 0; i < 8; ++i) {
    const __m128d different =
        _mm_cmpneq_pd(_mm_loadu_pd(v + 2 * i), _mm_setzero_pd());
    bits |= static_cast<unsigned>(_mm_movemask_pd(different)) << (2 * i);
  }
  return bits;
}

/// The active experts of a token: those whose coefficient is not zero.
template <class T>
struct Active {
  std::int64_t* expert;
  T* coefficient;
  std::int64_t count;
};

/// Calls `f(n, row[n])` for the values that are not zero, in their order.
template <class E, class F>
[[gnu::always_inline]] inline void over_nonzero(const E* row,
                                                std::int64_t size,
                                                F f) {
  std::int64_t n = 0;
  for (; n + 16 <= size; n += 16) {
    for (unsigned bits = nonzero_bits(row + n); bits != 0; bits &= bits - 1) {
      const std::int64_t at = n + __builtin_ctz(bits);
      f(at, load_value(row[at]));
    }
  }
  for (; n < size; ++n) {
    const auto value = load_value(row[n]);
    if (value != 0) f(n, value);
  }
}

}  // namespace mumoe::kernels::MUMOE_ISA
