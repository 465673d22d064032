#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace mumoe::study {

/// A value that is not certain.
struct Estimate {
  double mean = 0;
  double deviation = 0;  ///< standard deviation of what would be measured
};

/// What a model leaves of its measurements, as a function of where they are: a
/// Gaussian process of mean zero whose covariance is
///   v (exp(-|(x - y) / scales|) + noise [x is y]).
/// Near measurements the correction is theirs, far from all of them zero. v and
/// noise are those of the highest likelihood (Rasmussen and Williams, 5.4.1).
/// The deviation grows from that of the noise to sqrt(v n / (n - fitted)), n
/// the number of measurements that have nothing to do with each other,
/// (tr R)^2 / tr(R^2) of the correlations R: a model errs less where it was
/// fitted than elsewhere.
class LocalCorrection {
 public:
  /// `places`: of each measurement its coordinates, as many as `scales`, which
  /// are above zero; `left`: what the model leaves there. Both may be empty.
  /// `fitted`: how many numbers of the model were fitted to these measurements.
  LocalCorrection(std::vector<std::vector<double>> places,
                  std::span<const double> left,
                  std::vector<double> scales,
                  std::size_t fitted = 0);

  Estimate at(std::span<const double> place) const;

  /// -log of the likelihood of what is left, but for constants: of two sets of
  /// scales the one with less is the likelier.
  double objective() const { return objective_; }
  double variance() const { return variance_; }
  double noise() const { return noise_; }  ///< of the variance
  const std::vector<double>& scales() const { return scales_; }

 private:
  double correlation(std::span<const double> a,
                     std::span<const double> b) const;

  std::vector<std::vector<double>> places_;
  std::vector<double> scales_;
  double objective_ = 0;
  double variance_ = 0;
  double noise_ = 0;
  double growth_ = 1;            ///< n / (n - fitted)
  std::vector<double> weights_;  ///< [n]: covariances^-1 left
  std::vector<double> inverse_;  ///< [n, n]: of the covariances / variance
};

}  // namespace mumoe::study
