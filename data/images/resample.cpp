#include "data/images/resample.h"

#include <emmintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace mumoe::data {
namespace {

constexpr int kWeightBits = 14;
constexpr int kRowBits = 6;  // fractional, of rows between the two passes
constexpr double kSupport = 2.0;

/// Keys' cubic convolution.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Of which inputs, with which weights, each output of a pass is made. Weights
/// are in pairs, the form in which two products are added in one instruction;
/// an odd last one is paired with 0.
struct Taps {
  struct Output {
    int first = 0, pairs = 0;
    std::size_t weights = 0;  // where its weights begin
  };
  std::vector<Output> outputs;
  std::vector<std::int16_t> weights;
  int end = 0;  // above all inputs

  void add(double centre, double scale, int low, int high);
};

void Taps::add(double centre, double scale, int low, int high) {
  const double stretch = std::max(scale, 1.0);
  const double reach = kSupport * stretch;
  const int first = std::max(static_cast<int>(centre - reach + 0.5), low);
  const int last = std::min(static_cast<int>(centre + reach + 0.5), high);
  const int count = std::max(last - first, 1);
  std::vector<double> exact(static_cast<std::size_t>(count));
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    exact[i] = bicubic((first + i - centre + 0.5) / stretch);
    sum += exact[i];
  }
  Output output{first, (count + 1) / 2, weights.size()};
  int left = 1 << kWeightBits;
  std::size_t largest = weights.size();
  for (int i = 0; i < count; ++i) {
    const double share = sum != 0 ? exact[i] / sum : 1.0 / count;
    const auto weight =
        static_cast<std::int16_t>(std::lround(share * (1 << kWeightBits)));
    left -= weight;
    weights.push_back(weight);
    if (weight > weights[largest]) largest = weights.size() - 1;
  }
  // Weights add up to one: what is of one colour stays so.
  weights[largest] = static_cast<std::int16_t>(weights[largest] + left);
  if (count % 2 == 1) weights.push_back(0);
  outputs.push_back(output);
  end = std::max(end, first + 2 * output.pairs);
}

/// Of a pass from [begin, begin + length) to `outputs`, of which `size` from
/// `from` on are wanted.
Taps taps_of(double begin,
             double length,
             int outputs,
             int from,
             int size,
             int limit) {
  Taps taps;
  const double scale = length / outputs;
  const int low = std::max(static_cast<int>(std::floor(begin)), 0);
  const int high =
      std::min(static_cast<int>(std::ceil(begin + length - 1e-9)), limit);
  for (int i = from; i < from + size; ++i) {
    taps.add(begin + (i + 0.5) * scale, scale, low, high);
  }
  return taps;
}

__m128i pair_of_weights(const std::int16_t* weights) {
  std::int32_t both;
  std::memcpy(&both, weights, sizeof both);
  return _mm_set1_epi32(both);
}

/// Four 32-bit sums, rounded and shifted down.
template <int kShift>
__m128i rounded(__m128i sum) {
  return _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (kShift - 1))),
                        kShift);
}

/// A row of the result of the first, vertical, pass from `columns` blocks of 16
/// bytes: each value with 6 fractional bits. `row_at(k)` is the k-th input row.
template <class RowAt>
void blend_rows(const RowAt& row_at,
                const Taps::Output& output,
                const std::int16_t* weights,
                std::size_t blocks,
                std::int16_t* to) {
  constexpr int kShift = kWeightBits - kRowBits;
  const __m128i zero = _mm_setzero_si128();
  for (std::size_t block = 0; block < blocks; ++block) {
    __m128i sums[4] = {zero, zero, zero, zero};
    for (int pair = 0; pair < output.pairs; ++pair) {
      const __m128i weight = pair_of_weights(weights + 2 * pair);
      const auto load = [&](int k) {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(row_at(k) + 16 * block));
      };
      const __m128i one = load(2 * pair);
      const __m128i two = load(2 * pair + 1);
      const __m128i low = _mm_unpacklo_epi8(one, two);
      const __m128i high = _mm_unpackhi_epi8(one, two);
      const auto add = [&](int i, __m128i values) {
        sums[i] = _mm_add_epi32(sums[i], _mm_madd_epi16(values, weight));
      };
      add(0, _mm_unpacklo_epi8(low, zero));
      add(1, _mm_unpackhi_epi8(low, zero));
      add(2, _mm_unpacklo_epi8(high, zero));
      add(3, _mm_unpackhi_epi8(high, zero));
    }
    auto* out = reinterpret_cast<__m128i*>(to + 16 * block);
    _mm_storeu_si128(
        out,
        _mm_packs_epi32(rounded<kShift>(sums[0]), rounded<kShift>(sums[1])));
    _mm_storeu_si128(
        out + 1,
        _mm_packs_epi32(rounded<kShift>(sums[2]), rounded<kShift>(sums[3])));
  }
}

/// One pixel of the second, horizontal, pass.
std::uint32_t blend_columns(const std::int16_t* row,
                            const std::int16_t* weights,
                            int pairs) {
  __m128i sum = _mm_setzero_si128();
  for (int pair = 0; pair < pairs; ++pair) {
    const __m128i two =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 8 * pair));
    const __m128i values = _mm_unpacklo_epi16(two, _mm_srli_si128(two, 8));
    sum = _mm_add_epi32(
        sum,
        _mm_madd_epi16(values, pair_of_weights(weights + 2 * pair)));
  }
  sum = rounded<kWeightBits + kRowBits>(sum);
  sum = _mm_packs_epi32(sum, sum);
  return static_cast<std::uint32_t>(
      _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum)));
}

}  // namespace

Region Resampling::source(int picture_width, int picture_height) const {
  struct Range {
    int begin, length;
  };
  const auto range =
      [this](double begin, double length, int outputs, int from, int limit) {
        const double scale = length / outputs;
        const double rim = kSupport * std::max(scale, 1.0) + 1;
        const double low = std::max(begin, begin + from * scale - rim);
        const double high =
            std::min(begin + length, begin + (from + size) * scale + rim);
        const int first = std::clamp(static_cast<int>(low), 0, limit - 1);
        const int last =
            std::clamp(static_cast<int>(std::ceil(high)), first + 1, limit);
        return Range{first, last - first};
      };
  const Range x = range(left, box_width, width, window_left, picture_width);
  const Range y = range(top, box_height, height, window_top, picture_height);
  return {x.begin, y.begin, x.length, y.length};
}

Pixels resample(const Decoded& picture, const Resampling& how) {
  const Pixels& from = picture.pixels;
  const double unit = 1.0 / picture.shrink;
  // In the pixels at hand.
  const Taps across = taps_of(how.left * unit - picture.left,
                              how.box_width * unit,
                              how.width,
                              how.window_left,
                              how.size,
                              from.width());
  const Taps down = taps_of(how.top * unit - picture.top,
                            how.box_height * unit,
                            how.height,
                            how.window_top,
                            how.size,
                            from.height());
  int first = across.outputs.front().first;
  for (const auto& output : across.outputs)
    first = std::min(first, output.first);
  // Rows are worked on in blocks of 4 pixels, from the first column used on;
  // what a block or an odd tap has too much weighs nothing.
  const std::size_t used =
      static_cast<std::size_t>(std::min(across.end, from.width()) - first);
  const std::size_t blocks = (used + 3) / 4;
  std::vector<std::int16_t> row(16 * (blocks + 1));
  Pixels result(how.size, how.size);
  for (int y = 0; y < how.size; ++y) {
    const auto& output = down.outputs[static_cast<std::size_t>(y)];
    const auto row_at = [&](int k) -> const std::uint8_t* {
      const int at = std::min(output.first + k, from.height() - 1);
      return from.row(at) + Pixels::kBytes * first;
    };
    blend_rows(row_at,
               output,
               down.weights.data() + output.weights,
               blocks,
               row.data());
    std::uint8_t* to = result.row(y);
    for (int x = 0; x < how.size; ++x) {
      const auto& tap = across.outputs[static_cast<std::size_t>(x)];
      const std::uint32_t pixel =
          blend_columns(row.data() + Pixels::kBytes * (tap.first - first),
                        across.weights.data() + tap.weights,
                        tap.pairs);
      const int place = how.mirror ? how.size - 1 - x : x;
      std::memcpy(to + Pixels::kBytes * place, &pixel, sizeof pixel);
    }
  }
  return result;
}

}  // namespace mumoe::data
