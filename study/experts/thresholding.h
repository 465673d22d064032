#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "study/experts/fairness.h"

namespace mumoe::study {

/// What is known of the samples on which decisions are corrected: their
/// coefficients, and the mean ones of training.
struct Coefficients {
  std::int64_t experts = 0;
  std::vector<double> of_samples = {};     ///< [samples, experts], row-major.
  std::vector<double> subpopulation = {};  ///< ā, mean of the subpopulation.
  std::vector<double> everyone = {};       ///< Mean of all of training.

  std::span<const double> of(std::size_t sample) const {
    const auto n = static_cast<std::size_t>(experts);
    return std::span(of_samples).subspan(sample * n, n);
  }
};

/// Expert thresholding: the target's logit plus λ āᵀa, where ā is the mean of
/// the subpopulation's coefficients (`mean`, or a permutation of it).
Shift expert_shift(const Coefficients& coefficients,
                   std::vector<double> mean,
                   double lambda);
/// Blind thresholding: the same for everyone, λ āᵀ(mean of all of training).
Shift blind_shift(const Coefficients& coefficients, double lambda);

/// ā with its experts permuted, the `draw`-th time: thresholding by experts
/// that have nothing to do with the subpopulation.
std::vector<double> permuted(std::span<const double> mean, std::uint64_t draw);

/// 0, and from N/16 to 64 N by factors of √2, of both signs: where λ is looked
/// for unless said.
std::vector<double> usual_lambdas(std::int64_t experts);

/// Samples drawn into two halves, by number: the first chooses λ, the second
/// tells how good it is.
struct Halves {
  std::vector<std::size_t> choosing = {};
  std::vector<std::size_t> telling = {};
};
Halves halves_of(std::size_t samples, std::uint64_t seed = 1);

}  // namespace mumoe::study
