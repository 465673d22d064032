#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/random.h"
#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/gate.h"

// Slow and obvious versions of the gate, in double, and random inputs.

namespace mumoe::testing {

using Values = std::vector<double>;

/// Layer norm over the whole row, without affine.
inline Values layer_norm(const Values& row) {
  double mean = 0, variance = 0;
  for (const double v : row) mean += (v - row[0]) / row.size();
  for (const double v : row) {
    variance += (v - row[0] - mean) * (v - row[0] - mean) / row.size();
  }
  Values result;
  for (const double v : row) {
    result.push_back((v - row[0] - mean) / std::sqrt(variance + 1e-5));
  }
  return result;
}

/// entmax₁.₅ by sorting (Peters et al. 2019, algorithm 2).
inline Values entmax_by_sorting(const Values& row) {
  const double top = *std::max_element(row.begin(), row.end());
  Values x;
  for (const double v : row) x.push_back((v - top) / 2);
  Values sorted = x;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  long double sum = 0, squares = 0, tau = -1;
  for (std::size_t k = 1; k <= sorted.size(); ++k) {
    const long double v = sorted[k - 1];
    if (std::isinf(v)) break;
    sum += v;
    squares += v * v;
    const long double mean = sum / k;
    const long double spread = squares - k * mean * mean;
    const long double candidate =
        mean - std::sqrt(std::max(0.0L, (1 - spread) / k));
    if (candidate <= v) tau = candidate;
  }
  Values result;
  for (const double v : x) {
    const double d = std::max(0.0L, v - tau);
    result.push_back(d * d);
  }
  return result;
}

inline Values gate_by_sorting(const Values& logits, kernels::RowNorm norm) {
  return entmax_by_sorting(norm == kernels::RowNorm::layer ? layer_norm(logits)
                                                           : logits);
}

/// Σ w ∘ gate(logits)
inline double weighted(const Values& logits,
                       const Values& w,
                       kernels::RowNorm norm) {
  const Values a = gate_by_sorting(logits, norm);
  double sum = 0;
  for (std::size_t n = 0; n < a.size(); ++n) sum += a[n] * w[n];
  return sum;
}

inline Values random_row(std::uint64_t stream,
                         std::int64_t size,
                         double scale) {
  const CounterRandom random(7, Purpose::test, stream);
  Values row;
  for (std::int64_t i = 0; i < size; ++i) {
    row.push_back(scale * random.normal(i));
  }
  return row;
}

/// As stored in `E`, and back.
template <class E>
std::vector<E> stored(const Values& values) {
  std::vector<E> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    kernels::store_value(result[i],
                         static_cast<kernels::Compute<E>>(values[i]));
  }
  return result;
}
template <class E>
Values loaded(const std::vector<E>& values) {
  Values result;
  for (const E& value : values) result.push_back(kernels::load_value(value));
  return result;
}

}  // namespace mumoe::testing
