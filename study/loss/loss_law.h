#pragma once

#include <optional>
#include <span>
#include <string>

#include "study/loss/loss_point.h"

namespace mumoe::study {

/// Loss of a model of N parameters after D tokens, nats a token:
///   L(N, D) = E + A / N^alpha + B / D^beta
/// (Hoffmann et al., "Training Compute-Optimal Large Language Models", 2022,
/// section 3.3). All five are above zero.
struct LossLaw {
  double E = 0;
  double A = 0;
  double alpha = 0;
  double B = 0;
  double beta = 0;

  double at(double parameters, double tokens) const;

  /// What a budget C of FLOPs is best spent on: N_opt ~ C^a, D_opt ~ C^b with
  /// a = beta / (alpha + beta), b = alpha / (alpha + beta).
  double size_exponent() const { return beta / (alpha + beta); }
  double token_exponent() const { return alpha / (alpha + beta); }
};

/// Where a budget is best spent.
struct Optimum {
  double parameters = 0;
  double tokens = 0;
  double loss = 0;
};

/// The least loss for `flops`, where a token costs `factor` FLOPs a parameter:
/// C = factor N D.
Optimum optimum(const LossLaw& law, double flops, double factor);

/// The fewest FLOPs that bring the loss to `loss`; infinite where no number
/// does (E is not below it).
double flops_for(const LossLaw& law, double loss, double factor);

/// The law of some points, or one line that says why there is none.
struct LawFit {
  std::optional<LossLaw> law = {};
  std::string why_not = {};
};

/// Throws `InputError` that names the first point that is no measurement:
/// parameters, tokens, FLOPs and loss are finite and above zero.
void check_points(std::span<const LossPoint> points);

/// The law that makes the Huber loss (delta 1e-3, its smooth form) of
/// log(predicted / measured) least: from a grid of exponents, each with the
/// best E, A and B for it, the best few starts are refined by damped
/// Gauss-Newton steps over the logarithms of all five. No law where it would
/// not be the only one (fewer than 6 cells, 3 sizes or 3 numbers of tokens), or
/// where an exponent goes to its bound, 0.01 or 4, or has nothing to act on.
/// The same points give the same law.
LawFit fit_loss_law(std::span<const LossPoint> points);

/// The same, from one start.
LawFit fit_loss_law(std::span<const LossPoint> points, const LossLaw& start);

}  // namespace mumoe::study
