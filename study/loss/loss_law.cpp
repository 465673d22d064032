#include "study/loss/loss_law.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "study/loss/loss_cells.h"
#include "study/predict/fit.h"

namespace mumoe::study {
namespace {

constexpr double kDelta = 1e-3;  // of Huber's loss, in log(predicted/measured)
constexpr double kLeastExponent = 0.01;
constexpr double kMostExponent = 4;
// Of the least loss: what an amplitude may fall to, and what it must move the
// loss by between the ends for its exponent to mean something.
constexpr double kLeastAmplitude = 1e-5;
constexpr double kLeastEffect = 1e-3;
constexpr std::array<double, 7> kStarts = {0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.8};
constexpr std::size_t kRefined = 6;

using Values = std::vector<double>;
enum Place { kE, kA, kAlpha, kB, kBeta, kUnknowns };

/// Points about the middle of their logarithms, where an amplitude and its
/// exponent are told apart best: A there is what N costs at the middle size.
class Centred {
 public:
  explicit Centred(std::span<const LossPoint> points) {
    for (const LossPoint& point : points) {
      sizes_.push_back(std::log(point.parameters));
      tokens_.push_back(std::log(point.tokens));
      losses_.push_back(point.loss);
    }
    middle_size_ = centre(sizes_);
    middle_tokens_ = centre(tokens_);
    least_ = std::ranges::min(losses_);
    most_ = std::ranges::max(losses_);
  }

  std::size_t size() const { return losses_.size(); }
  const Values& losses() const { return losses_; }
  double size_term(std::size_t i, double alpha) const {
    return std::exp(-alpha * sizes_[i]);
  }
  double token_term(std::size_t i, double beta) const {
    return std::exp(-beta * tokens_[i]);
  }
  Values predict(std::span<const double> v) const {
    Values all(size());
    for (std::size_t i = 0; i < size(); ++i) {
      all[i] = v[kE] + v[kA] * size_term(i, v[kAlpha]) +
               v[kB] * token_term(i, v[kBeta]);
    }
    return all;
  }

  /// An unknown that begins at `start`, moved between its bounds.
  Unknown unknown(std::size_t place, double start) const {
    const bool exponent = place == kAlpha || place == kBeta;
    const double low = exponent ? kLeastExponent : kLeastAmplitude * least_;
    const double high = exponent ? kMostExponent : 2 * most_;
    return {std::clamp(start, low, high), low, high};
  }

  LossLaw law(const Values& v) const {
    return {v[kE],
            v[kA] * std::exp(v[kAlpha] * middle_size_),
            v[kAlpha],
            v[kB] * std::exp(v[kBeta] * middle_tokens_),
            v[kBeta]};
  }
  Values values(const LossLaw& law) const {
    return {law.E,
            law.A * std::exp(-law.alpha * middle_size_),
            law.alpha,
            law.B * std::exp(-law.beta * middle_tokens_),
            law.beta};
  }

  /// What the loss moves by, relative to the least one, from the smallest size
  /// to the largest, or from the fewest tokens to the most.
  double effect_of_size(const Values& v) const {
    return v[kA] / least_ * reach(sizes_, v[kAlpha]);
  }
  double effect_of_tokens(const Values& v) const {
    return v[kB] / least_ * reach(tokens_, v[kBeta]);
  }

 private:
  static double centre(Values& logs) {
    const auto [low, high] = std::ranges::minmax(logs);
    const double middle = (low + high) / 2;
    for (double& value : logs) value -= middle;
    return middle;
  }
  static double reach(const Values& logs, double exponent) {
    const auto [low, high] = std::ranges::minmax(logs);
    return std::exp(-exponent * low) - std::exp(-exponent * high);
  }

  Values sizes_, tokens_, losses_;
  double middle_size_ = 0, middle_tokens_ = 0, least_ = 0, most_ = 0;
};

double objective(const Centred& points, const Values& values) {
  double sum = 0;
  const Values all = points.predict(values);
  for (std::size_t i = 0; i < all.size(); ++i) {
    sum += std::hypot(1, std::log(all[i] / points.losses()[i]) / kDelta) - 1;
  }
  return sum;
}

using Row = std::array<double, 3>;

double determinant(const Row& a, const Row& b, const Row& c) {
  return a[0] * (b[1] * c[2] - b[2] * c[1]) -
         a[1] * (b[0] * c[2] - b[2] * c[0]) +
         a[2] * (b[0] * c[1] - b[1] * c[0]);
}

/// The start for two exponents: the E, A and B of the least squares of relative
/// errors, within their bounds.
Values start_for(const Centred& points, double alpha, double beta) {
  std::array<Row, 3> matrix = {};
  Row right = {};
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double loss = points.losses()[i];
    const Row terms = {1 / loss,
                       points.size_term(i, alpha) / loss,
                       points.token_term(i, beta) / loss};
    for (std::size_t j = 0; j < 3; ++j) {
      right[j] += terms[j];
      for (std::size_t k = 0; k < 3; ++k) matrix[j][k] += terms[j] * terms[k];
    }
  }
  const double all = determinant(matrix[0], matrix[1], matrix[2]);
  Row found = {};
  for (std::size_t j = 0; j < 3; ++j) {
    // Symmetric, so a row may stand for a column.
    auto changed = matrix;
    changed[j] = right;
    found[j] = determinant(changed[0], changed[1], changed[2]) / all;
    if (!std::isfinite(found[j])) found[j] = 0;
  }
  Values values = {found[0], found[1], alpha, found[2], beta};
  for (std::size_t j = 0; j < kUnknowns; ++j) {
    values[j] = points.unknown(j, values[j]).start;
  }
  return values;
}

Values refined(const Centred& points, const Values& start) {
  std::vector<Unknown> unknowns;
  for (std::size_t j = 0; j < kUnknowns; ++j) {
    unknowns.push_back(points.unknown(j, start[j]));
  }
  // Next to no prior: what it is there for is a matrix that has an inverse.
  const FitOptions options{1e-7, kDelta, 200};
  return fit([&](std::span<const double> v) { return points.predict(v); },
             points.losses(),
             unknowns,
             options);
}

Values best_of_grid(const Centred& points) {
  std::vector<std::pair<double, Values>> starts;
  for (const double alpha : kStarts) {
    for (const double beta : kStarts) {
      auto values = start_for(points, alpha, beta);
      const double value = objective(points, values);
      starts.emplace_back(value, std::move(values));
    }
  }
  std::ranges::stable_sort(starts, {}, [](auto& each) { return each.first; });
  Values best;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < std::min(kRefined, starts.size()); ++i) {
    auto values = refined(points, starts[i].second);
    const double value = objective(points, values);
    if (!(value < least)) continue;
    least = value;
    best = std::move(values);
  }
  return best;
}

/// Why the exponent of `what` means nothing at `value`; empty: it does.
std::string undetermined(const char* what,
                         const char* exponent,
                         double value,
                         double effect) {
  if (effect < kLeastEffect) {
    return fmt::format("the loss does not fall with {}, so {} is not known",
                       what,
                       exponent);
  }
  if (value < 1.02 * kLeastExponent || value > kMostExponent / 1.02) {
    return fmt::format(
        "{} goes to its bound of {:g}: how the loss falls with "
        "{} is no power law here",
        exponent,
        value < 1 ? kLeastExponent : kMostExponent,
        what);
  }
  return {};
}

/// Why many laws go through the points; empty: one does.
std::string too_few(std::span<const LossPoint> points) {
  const auto counted = [](std::size_t count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  std::set<std::pair<double, double>> cells;
  Values sizes, tokens;
  for (const LossPoint& point : points) {
    cells.emplace(point.parameters, point.tokens);
    sizes.push_back(point.parameters);
    tokens.push_back(point.tokens);
  }
  const std::size_t of_size = distinct(std::move(sizes));
  const std::size_t of_tokens = distinct(std::move(tokens));
  if (of_size < 3) {
    return counted(of_size, "size") + ": alpha takes at least 3";
  }
  if (of_tokens < 3) {
    return counted(of_tokens, "number") + " of tokens: beta takes at least 3";
  }
  if (cells.size() < kUnknowns + 1) {
    return fmt::format(
        "{} of size and tokens: a law of {} parameters takes at least {}",
        counted(cells.size(), "cell"),
        static_cast<int>(kUnknowns),
        static_cast<int>(kUnknowns) + 1);
  }
  return {};
}

LawFit checked(const Centred& points, const Values& values) {
  for (std::string why : {undetermined("parameters",
                                       "alpha",
                                       values[kAlpha],
                                       points.effect_of_size(values)),
                          undetermined("tokens",
                                       "beta",
                                       values[kBeta],
                                       points.effect_of_tokens(values))}) {
    if (!why.empty()) return {{}, std::move(why)};
  }
  return {points.law(values), {}};
}

}  // namespace

double LossLaw::at(double parameters, double tokens) const {
  return E + A * std::pow(parameters, -alpha) + B * std::pow(tokens, -beta);
}

Optimum optimum(const LossLaw& law, double flops, double factor) {
  // Where alpha A / N^alpha = beta B / D^beta and N D = C / factor.
  const double product = flops / factor;
  const double ratio = std::log(law.alpha * law.A / (law.beta * law.B));
  const double size =
      std::exp((ratio + law.beta * std::log(product)) / (law.alpha + law.beta));
  return {size, product / size, law.at(size, product / size)};
}

double flops_for(const LossLaw& law, double loss, double factor) {
  if (!(loss > law.E)) return std::numeric_limits<double>::infinity();
  // The least loss above E falls with C to this power.
  const double power = law.alpha * law.beta / (law.alpha + law.beta);
  const double at_one = optimum(law, factor, factor).loss - law.E;
  return factor * std::pow(at_one / (loss - law.E), 1 / power);
}

void check_points(std::span<const LossPoint> points) {
  require(!points.empty(), "no losses; expected at least one run");
  for (const LossPoint& point : points) {
    for (const auto& [name, value] :
         {std::pair("loss", point.loss),
          std::pair("parameters", point.parameters),
          std::pair("tokens", point.tokens),
          std::pair("FLOPs a token", point.flops_per_token)}) {
      require(std::isfinite(value) && value > 0,
              "{}, {:.0f} tokens, seed {}: {} is {}; expected a finite number "
              "above 0",
              point.model,
              point.tokens,
              point.seed,
              name,
              value);
    }
  }
}

LawFit fit_loss_law(std::span<const LossPoint> points) {
  check_points(points);
  auto why = too_few(points);
  if (!why.empty()) return {{}, std::move(why)};
  const Centred centred(points);
  return checked(centred, best_of_grid(centred));
}

LawFit fit_loss_law(std::span<const LossPoint> points, const LossLaw& start) {
  check_points(points);
  auto why = too_few(points);
  if (!why.empty()) return {{}, std::move(why)};
  const Centred centred(points);
  return checked(centred, refined(centred, centred.values(start)));
}

}  // namespace mumoe::study
