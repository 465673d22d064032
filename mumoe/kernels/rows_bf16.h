#pragma once

// With AVX512-BF16, products of two bfloat16 rows need no conversion: one
// instruction multiplies pairs and adds them to fp32 sums. These take the place
// of the general functions of rows.h and combine_cpu.cpp. Denormals count as
// zeros.

#include "mumoe/kernels/rows.h"

#if defined(__AVX512BF16__)

namespace mumoe::kernels::MUMOE_ISA {

constexpr std::int64_t kPairs = 32;  // bfloat16 values in a register

/// The first `count` values, at most 32; zeros after them.
[[gnu::always_inline]] inline __m512i load_pairs(const Bf16* from,
                                                 std::int64_t count) {
  const __mmask32 mask =
      count >= kPairs ? ~__mmask32{0} : (__mmask32{1} << count) - 1;
  return _mm512_maskz_loadu_epi16(mask, from);
}

/// As `dots` of rows.h.
template <int kRows>
[[gnu::always_inline]] inline void dots(const Bf16* x,
                                        const Bf16* const* y,
                                        std::int64_t size,
                                        float* result) {
  __m512 sum[kRows];
  for (int k = 0; k < kRows; ++k) sum[k] = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < size; i += kPairs) {
    const auto block = (__m512bh)load_pairs(x + i, size - i);
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
      const auto row = (__m512bh)load_pairs(y[k] + i, size - i);
      sum[k] = _mm512_dpbf16_ps(sum[k], block, row);
    }
  }
  for (int k = 0; k < kRows; ++k) {
    Lanes<float> lanes;
    lanes.part[0] = (Lanes<float>::Vector)sum[k];
    result[k] = lanes.sum();
  }
}

/// Stores the first `count` of 32 sums, whose pairs were taken apart by
/// unpacking.
[[gnu::always_inline]] inline void store_unpacked(__m512 low,
                                                  __m512 high,
                                                  std::int64_t count,
                                                  float* to) {
  // Unpacking took the values of each 128 bits apart: 0-3, 8-11, … and 4-7, ….
  const __m512i front =
      _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i back = _mm512_setr_epi32(8,
                                         9,
                                         10,
                                         11,
                                         24,
                                         25,
                                         26,
                                         27,
                                         12,
                                         13,
                                         14,
                                         15,
                                         28,
                                         29,
                                         30,
                                         31);
  const auto mask = [](std::int64_t count) {
    return count >= 16  ? __mmask16{0xffff}
           : count <= 0 ? __mmask16{0}
                        : static_cast<__mmask16>((1u << count) - 1);
  };
  _mm512_mask_storeu_ps(to,
                        mask(count),
                        _mm512_permutex2var_ps(low, front, high));
  _mm512_mask_storeu_ps(to + 16,
                        mask(count - 16),
                        _mm512_permutex2var_ps(low, back, high));
}

/// kBlocks · 32 columns of m = Σ_k a_k U[n_k], two experts at a time; `count`
/// columns are left.
template <int kBlocks>
[[gnu::always_inline]] inline void mix_pairs(const Active<float>& active,
                                             const Bf16* expert,
                                             std::int64_t width,
                                             std::int64_t at,
                                             float* to) {
  __m512 low[kBlocks], high[kBlocks];
  for (int b = 0; b < kBlocks; ++b) {
    low[b] = high[b] = _mm512_setzero_ps();
  }
  const std::int64_t left = width - at;
  for (std::int64_t k = 0; k < active.count; k += 2) {
    const bool two = k + 1 < active.count;
    const Bf16* const first = expert + active.expert[k] * width + at;
    const Bf16* const second =
        two ? expert + active.expert[k + 1] * width + at : first;
    const std::uint32_t both =
        to_bf16(active.coefficient[k]).bits |
        std::uint32_t{two ? to_bf16(active.coefficient[k + 1]).bits
                          : std::uint16_t{0}}
            << 16;
    const auto a = (__m512bh)_mm512_set1_epi32(static_cast<int>(both));
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      const std::int64_t rest = left - b * kPairs;
      const __m512i u = load_pairs(first + b * kPairs, rest);
      const __m512i v =
          two ? load_pairs(second + b * kPairs, rest) : _mm512_setzero_si512();
      const __m512i uv_low = _mm512_maskz_unpacklo_epi16(~0u, u, v);
      const __m512i uv_high = _mm512_maskz_unpackhi_epi16(~0u, u, v);
      low[b] = _mm512_dpbf16_ps(low[b], (__m512bh)uv_low, a);
      high[b] = _mm512_dpbf16_ps(high[b], (__m512bh)uv_high, a);
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    store_unpacked(low[b], high[b], left - b * kPairs, to + at + b * kPairs);
  }
}

/// As `mix` of combine_cpu.cpp.
inline void mix(const Active<float>& active,
                const Bf16* expert,
                std::int64_t width,
                float* to) {
  constexpr int kBlocks = 4;
  std::int64_t at = 0;
  for (; at + kBlocks * kPairs <= width; at += kBlocks * kPairs) {
    mix_pairs<kBlocks>(active, expert, width, at, to);
  }
  for (; at < width; at += kPairs) mix_pairs<1>(active, expert, width, at, to);
}

}  // namespace mumoe::kernels::MUMOE_ISA

#endif
