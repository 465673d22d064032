#include "study/predict/fit.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"

namespace mumoe::study {
namespace {

using Values = std::vector<double>;

constexpr double kDifference = 1e-5;  // of a logarithm, for derivatives
constexpr double kConverged = 1e-10;  // relative gain of the objective
constexpr double kMostDamping = 1e12;

Values exponentials(std::span<const double> logs) {
  Values values;
  for (const double value : logs) values.push_back(std::exp(value));
  return values;
}

/// Solves a x = b for a symmetric positive a [n, n] by Cholesky factors, in
/// place; false where it is not positive.
bool solve(Values a, Values& b) {
  const std::size_t n = b.size();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j && !(sum > 0)) return false;
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return true;
}

/// One fit: the point where it is, over the logarithms of the unknowns.
class Search {
 public:
  Search(const std::function<Values(std::span<const double>)>& predict,
         std::span<const double> measured,
         std::span<const Unknown> unknowns,
         const FitOptions& options)
      : predict_(predict), measured_(measured), options_(options) {
    for (const Unknown& unknown : unknowns) {
      start_.push_back(std::log(unknown.start));
      least_.push_back(std::log(unknown.least));
      most_.push_back(std::log(unknown.most));
    }
    at_ = start_;
    ratios_ = ratios(at_);
    objective_ = objective(at_, ratios_);
  }

  Values run() {
    double damping = 1e-3;
    for (int i = 0; i < options_.most_steps; ++i) {
      const double before = objective_;
      if (!step(damping)) break;
      if (before - objective_ <= kConverged * before) break;
    }
    return exponentials(at_);
  }

 private:
  /// log(predicted / measured).
  Values ratios(const Values& logs) const {
    Values all = predict_(exponentials(logs));
    MUMOE_CHECK(all.size() == measured_.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i] = std::log(all[i] / measured_[i]);
    }
    return all;
  }

  double prior_weight() const {
    const double all =
        static_cast<double>(std::max<std::size_t>(measured_.size(), 1));
    return options_.prior * options_.prior * all;
  }

  double objective(const Values& logs, const Values& ratios) const {
    double sum = 0;
    const double scale = options_.outlier;
    for (const double ratio : ratios) {
      sum += scale * scale * (std::hypot(1, ratio / scale) - 1);
    }
    for (std::size_t j = 0; j < logs.size(); ++j) {
      const double off = logs[j] - start_[j];
      sum += prior_weight() * off * off / 2;
    }
    return sum;
  }

  /// Weighted normal equations at the point: J'WJ [n, n] and -J'Wr [n].
  void equations(Values& matrix, Values& right) const {
    const std::size_t n = at_.size();
    std::vector<Values> slopes;
    for (std::size_t j = 0; j < n; ++j) {
      Values moved = at_;
      const double by =
          at_[j] + kDifference > most_[j] ? -kDifference : kDifference;
      moved[j] += by;
      slopes.push_back(ratios(moved));
      for (std::size_t i = 0; i < ratios_.size(); ++i) {
        slopes[j][i] = (slopes[j][i] - ratios_[i]) / by;
      }
    }
    matrix.assign(n * n, 0);
    right.assign(n, 0);
    const double squared = prior_weight();
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = 0; i < ratios_.size(); ++i) {
        const double weight =
            slopes[j][i] / std::hypot(1, ratios_[i] / options_.outlier);
        right[j] -= weight * ratios_[i];
        for (std::size_t k = 0; k < n; ++k) {
          matrix[j * n + k] += weight * slopes[k][i];
        }
      }
      matrix[j * n + j] += squared;
      right[j] -= squared * (at_[j] - start_[j]);
    }
  }

  /// Unknowns at a bound that the step would cross stay there.
  void hold_at_bounds(Values& matrix, Values& right) const {
    const std::size_t n = right.size();
    for (std::size_t j = 0; j < n; ++j) {
      const bool held = (at_[j] <= least_[j] && right[j] < 0) ||
                        (at_[j] >= most_[j] && right[j] > 0);
      if (!held) continue;
      for (std::size_t k = 0; k < n; ++k) {
        matrix[j * n + k] = matrix[k * n + j] = 0;
      }
      matrix[j * n + j] = 1;
      right[j] = 0;
    }
  }

  /// Goes to a better point, with more damping where there is none; false where
  /// no damping finds one.
  bool step(double& damping) {
    Values matrix, right;
    equations(matrix, right);
    hold_at_bounds(matrix, right);
    const std::size_t n = right.size();
    for (; damping < kMostDamping; damping *= 4) {
      Values damped = matrix;
      for (std::size_t j = 0; j < n; ++j) damped[j * n + j] *= 1 + damping;
      Values change = right;
      if (!solve(std::move(damped), change)) continue;
      Values next = at_;
      for (std::size_t j = 0; j < n; ++j) {
        next[j] = std::clamp(next[j] + change[j], least_[j], most_[j]);
      }
      Values found = ratios(next);
      const double value = objective(next, found);
      if (!(value < objective_)) continue;
      at_ = std::move(next);
      ratios_ = std::move(found);
      objective_ = value;
      damping = std::max(damping / 8, 1e-9);
      return true;
    }
    return false;
  }

  const std::function<Values(std::span<const double>)>& predict_;
  std::span<const double> measured_;
  FitOptions options_;
  Values start_, least_, most_, at_, ratios_;
  double objective_ = 0;
};

/// A rate that is fitted.
struct Rate {
  double& (*of)(Rates&);
  double least, most;
};

template <std::size_t kind>
double& passes_of(Rates& rates) {
  return rates.passes[kind];
}

// Beyond these bounds a rate would stand for something else.
constexpr std::array kRates = {
    Rate{[](Rates& r) -> double& { return r.product_share; }, 0.2, 0.9},
    Rate{[](Rates& r) -> double& { return r.product_ramp; }, 1, 2000},
    Rate{[](Rates& r) -> double& { return r.wave_share; }, 0.01, 1},
    Rate{[](Rates& r) -> double& { return r.memory_share; }, 0.3, 0.92},
    Rate{passes_of<0>, 0.1, 5},
    Rate{passes_of<1>, 0.1, 5},
    Rate{passes_of<2>, 0.1, 5},
    Rate{passes_of<3>, 0.1, 5},
    Rate{passes_of<4>, 0.1, 5},
    Rate{[](Rates& r) -> double& { return r.launch; }, 0.01, 20},
    Rate{[](Rates& r) -> double& { return r.start; }, 0.05, 50},
    Rate{[](Rates& r) -> double& { return r.ring_step; }, 0.05, 50},
    Rate{[](Rates& r) -> double& { return r.micro_step; }, 1e-3, 100},
    Rate{[](Rates& r) -> double& { return r.step; }, 1e-3, 100},
};

Rates rates_of(std::span<const double> values) {
  Rates rates;
  for (std::size_t i = 0; i < kRates.size(); ++i) {
    kRates[i].of(rates) = values[i];
  }
  return rates;
}

}  // namespace

std::vector<double> fit(
    const std::function<std::vector<double>(std::span<const double>)>& predict,
    std::span<const double> measured,
    std::span<const Unknown> unknowns,
    const FitOptions& options) {
  return Search(predict, measured, unknowns, options).run();
}

Rates fit_rates(std::span<const MeasuredStep> steps, const Machine& machine) {
  Rates start;
  std::vector<Unknown> unknowns;
  for (const Rate& rate : kRates) {
    unknowns.push_back({rate.of(start), rate.least, rate.most});
  }
  std::vector<double> measured;
  for (const MeasuredStep& step : steps) measured.push_back(step.seconds);
  const auto predict = [&](std::span<const double> values) {
    const Rates rates = rates_of(values);
    std::vector<double> all;
    for (const MeasuredStep& step : steps) {
      all.push_back(step_time(step.work, machine, rates).total());
    }
    return all;
  };
  return rates_of(fit(predict, measured, unknowns));
}

std::size_t fitted_rates() {
  return kRates.size();
}

}  // namespace mumoe::study
