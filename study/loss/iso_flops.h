#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "study/loss/law_draws.h"
#include "study/loss/loss_cells.h"

namespace mumoe::study {

/// What the law says of a size at a budget.
struct IsoPoint {
  double parameters = 0;
  double loss = 0;
  std::optional<Range> range = {};  ///< 90 % interval of the law.
};

/// What a model's runs say of it.
struct IsoMeasured {
  std::string model;
  double parameters = 0;
  double loss = 0;
};

/// loss = constant + slope x + curve x², x = log(N / middle), by least squares.
struct Parabola {
  double middle = 0;
  double constant = 0;
  double slope = 0;
  double curve = 0;

  double at(double parameters) const;
  /// The size of its least loss; none where it does not open upwards.
  std::optional<double> least() const;
};

/// Loss of all sizes for one budget of FLOPs.
struct IsoFlop {
  double flops = 0;
  std::vector<IsoPoint> curve = {};        ///< By size; empty without a law.
  std::optional<Optimum> best = {};        ///< By the law.
  std::optional<Range> sizes = {};         ///< Interval of its parameters,
  std::optional<Range> tokens = {};        ///< and its tokens.
  bool measured_size = false;              ///< It lies among measured sizes.
  std::vector<IsoMeasured> measured = {};  ///< By size.
  std::optional<Parabola> parabola = {};   ///< Of three sizes and more.
  /// Its minimum, if that lies among its sizes (Hoffmann et al., approach 2).
  std::optional<Optimum> found = {};
};

/// The budgets to look at: up to four of those at which runs ended, with three
/// sizes measured on both sides of each; where there is none, four from the
/// smallest to the largest run.
std::vector<double> budgets_of(std::span<const LossCurve> curves);

/// Of one form's curves at a budget. A model counts as measured where it was
/// measured after fewer and more tokens than `flops` buys it (`loss_after`).
IsoFlop iso_flop(std::span<const LossCurve> curves,
                 const DrawnLaw& law,
                 const FlopsFactor& factor,
                 double flops);

}  // namespace mumoe::study
