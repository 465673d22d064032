#include "study/predict/local_correction.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_cholesky.h>

#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"

namespace mumoe::study {
namespace {

// Between these shares of the variance the noise is looked for: below the
// first, inverses lose their digits; at the second nothing is learnt.
constexpr double kLeastNoise = 1e-6, kMostNoise = 1;
constexpr int kNoiseSteps = 12;  // of a golden section over its logarithm

at::Tensor view_of(std::vector<double>& values, at::IntArrayRef shape) {
  return at::from_blob(values.data(), shape, at::kDouble);
}

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  const auto* const data = flat.const_data_ptr<double>();
  return {data, data + flat.numel()};
}

/// The process with one noise, at its most likely variance.
struct Likely {
  double objective, variance;  ///< -log likelihood, and constants
  at::Tensor factor, weights;
};

Likely likely(const at::Tensor& correlations,
              const at::Tensor& left,
              double noise) {
  const auto n = left.numel();
  const at::Tensor factor = at::linalg_cholesky(
      correlations + noise * at::eye(n, correlations.options()));
  const at::Tensor weights =
      at::cholesky_solve(left.unsqueeze(1), factor).squeeze(1);
  const double count = static_cast<double>(n);
  // Nothing left at all would be a variance of zero.
  const double variance =
      std::max(left.dot(weights).item<double>() / count, 1e-12);
  const double determinant = factor.diagonal().log().sum().item<double>();
  return {count / 2 * std::log(variance) + determinant,
          variance,
          factor,
          weights};
}

/// The noise of the least objective, by golden sections.
double likely_noise(const at::Tensor& correlations, const at::Tensor& left) {
  constexpr double kGolden = 0.6180339887498949;
  double low = std::log(kLeastNoise), high = std::log(kMostNoise);
  const auto objective = [&](double log_noise) {
    return likely(correlations, left, std::exp(log_noise)).objective;
  };
  double a = high - kGolden * (high - low), b = low + kGolden * (high - low);
  double at_a = objective(a), at_b = objective(b);
  for (int i = 0; i < kNoiseSteps; ++i) {
    if (at_a < at_b) {
      high = std::exchange(b, a);
      at_b = at_a;
      a = high - kGolden * (high - low);
      at_a = objective(a);
    } else {
      low = std::exchange(a, b);
      at_a = at_b;
      b = low + kGolden * (high - low);
      at_b = objective(b);
    }
  }
  return std::exp((low + high) / 2);
}

}  // namespace

LocalCorrection::LocalCorrection(std::vector<std::vector<double>> places,
                                 std::span<const double> left,
                                 std::vector<double> scales,
                                 std::size_t fitted)
    : places_(std::move(places)), scales_(std::move(scales)) {
  MUMOE_CHECK(places_.size() == left.size());
  if (places_.empty()) return;
  const std::size_t n = places_.size();
  const auto count = static_cast<std::int64_t>(n);
  std::vector<double> matrix(n * n);
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) {
    MUMOE_CHECK(places_[i].size() == scales_.size());
    for (std::size_t j = 0; j < n; ++j) {
      const double value = correlation(places_[i], places_[j]);
      matrix[i * n + j] = value;
      squares += value * value;
    }
  }
  std::vector<double> values(left.begin(), left.end());
  const at::Tensor correlations = view_of(matrix, {count, count});
  const at::Tensor vector = view_of(values, {count});
  noise_ = likely_noise(correlations, vector);
  const Likely found = likely(correlations, vector, noise_);
  const double apart = static_cast<double>(n * n) / squares;
  const double free = std::max(apart - static_cast<double>(fitted), 1.0);
  growth_ = std::max(apart / free, 1.0);
  objective_ = found.objective;
  variance_ = found.variance;
  weights_ = values_of(found.weights);
  inverse_ = values_of(at::cholesky_inverse(found.factor));
}

double LocalCorrection::correlation(std::span<const double> a,
                                    std::span<const double> b) const {
  double squares = 0;
  for (std::size_t i = 0; i < scales_.size(); ++i) {
    const double apart = (a[i] - b[i]) / scales_[i];
    squares += apart * apart;
  }
  return std::exp(-std::sqrt(squares));
}

Estimate LocalCorrection::at(std::span<const double> place) const {
  const std::size_t n = places_.size();
  std::vector<double> near(n);
  Estimate estimate;
  for (std::size_t i = 0; i < n; ++i) {
    near[i] = correlation(place, places_[i]);
    estimate.mean += near[i] * weights_[i];
  }
  double known = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double row = 0;
    for (std::size_t j = 0; j < n; ++j) row += inverse_[i * n + j] * near[j];
    known += near[i] * row;
  }
  const double open = std::max(1 - known, 0.0);
  estimate.deviation =
      std::sqrt(variance_ * (open + noise_) * (1 + open * (growth_ - 1)));
  return estimate;
}

}  // namespace mumoe::study
