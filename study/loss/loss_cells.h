#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "study/loss/loss_point.h"

namespace mumoe::study {

/// Two numbers closer than this count as one: sizes of forms that were made
/// equal, budgets that whole steps round.
inline constexpr double kSame = 0.05;

/// The quantile of 95 % of Student's distribution, `degrees` ≥ 1.
double student_95(std::int64_t degrees);

/// How many of `values`, all above zero, are different: 1 % and more apart.
std::size_t distinct(std::vector<double> values);

/// The runs of one model over the same tokens, which differ in their seeds.
struct LossCell {
  double tokens = 0;
  std::vector<double> losses = {};  ///< One a seed.

  double mean() const;
  double low() const;
  double high() const;
};

/// One model, by tokens.
struct LossCurve {
  std::string model;
  std::string form;
  double parameters = 0;
  double flops_per_token = 0;
  std::vector<LossCell> cells = {};  ///< Tokens rise.
};

/// The models of checked points, of one form or of all: by size, those of one
/// size in the order in which they come up. Throws `InputError` for a model
/// that is of two forms or sizes.
std::vector<LossCurve> loss_curves(std::span<const LossPoint> points);

/// A loss between measured ones: the weighted mean of logarithms of means of
/// cells, which outlive it.
struct BetweenLosses {
  std::vector<std::pair<const LossCell*, double>> parts;

  double log() const;
  double loss() const;
};

/// Of a model after `tokens`, straight in logarithms of both; none where it was
/// measured at fewer alone or at more alone, by more than `kSame`.
std::optional<BetweenLosses> loss_after(const LossCurve& curve, double tokens);

/// Of a model of `parameters` between those of `curves`, one form by size;
/// none beyond them by more than `kSame`.
std::optional<BetweenLosses> loss_between(std::span<const LossCurve> curves,
                                          double parameters,
                                          double tokens);

/// What seeds do to a loss: of log(loss), over all cells of several seeds, as
/// if it were one for all.
struct SeedNoise {
  double deviation = 0;
  std::int64_t degrees = 0;  ///< Of freedom; 0: every cell has one seed.

  /// Half of the width of the 90 % interval (Student's) of a sum of logarithms
  /// of means, each times its weight; none without degrees.
  std::optional<double> half_width(const BetweenLosses& sum) const;
};
SeedNoise seed_noise(std::span<const LossCurve> curves);

/// FLOPs a token costs for each parameter, 6 for large dense models: the
/// geometric mean over the models, and how far from it they are, 0.1 for 10 %.
struct FlopsFactor {
  double value = 0;
  double off = 0;
};
FlopsFactor flops_factor(std::span<const LossCurve> curves);

}  // namespace mumoe::study
