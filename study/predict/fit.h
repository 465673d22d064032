#pragma once

#include <functional>
#include <span>
#include <vector>

#include "study/predict/step_time.h"

namespace mumoe::study {

/// A positive number that is looked for: where from, and between which bounds.
struct Unknown {
  double start, least, most;
};

/// What is known of unknowns before anything is measured: a value e times its
/// start counts as much as if all measurements were off by `prior`. What is
/// left are errors of the model, which more measurements do not average out;
/// with much less than this, rates that measurements do not tell apart go to
/// their bounds (runs of a tp that was kept back: 17 % wrong, not 10).
struct FitOptions {
  double prior = 0.01;
  /// Ratios further from 1 than by about this count linearly, not by squares.
  double outlier = 0.1;
  int most_steps = 100;
};

/// The values that make `predict(values)[i] / measured[i]` closest to 1: the
/// least sum of squared logarithms (soft-L1 beyond `outlier`), by damped
/// Gauss-Newton steps over the logarithms of the values, with a numeric
/// Jacobian. The same numbers in give the same numbers out. All predictions
/// must be positive.
std::vector<double> fit(
    const std::function<std::vector<double>(std::span<const double>)>& predict,
    std::span<const double> measured,
    std::span<const Unknown> unknowns,
    const FitOptions& options = {});

/// A measured step.
struct MeasuredStep {
  StepWork work;
  double seconds = 0;
};

/// The rates of what was measured on `machine`. With no steps those of `Rates`.
Rates fit_rates(std::span<const MeasuredStep> steps, const Machine& machine);

/// How many rates it fits.
std::size_t fitted_rates();

}  // namespace mumoe::study
