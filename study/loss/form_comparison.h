#pragma once

#include <optional>
#include <string>
#include <vector>

#include "study/loss/law_draws.h"
#include "study/loss/loss_cells.h"

namespace mumoe::study {

/// One form with its models, by size, and what they say together.
struct FormLosses {
  std::string form;
  std::vector<LossCurve> curves = {};
  DrawnLaw law = {};
  FlopsFactor factor = {};
};

/// A model of another form after some tokens, against the base form with as
/// many parameters after as many tokens, between measured ones.
struct LossDifference {
  std::string model;
  double parameters = 0;
  double tokens = 0;
  double loss = 0;
  double base_loss = 0;
  std::optional<Range> range = {};  ///< Of loss - base_loss, by the seeds.
  /// loss - base_loss by the laws, with the interval of their draws.
  std::optional<double> by_laws = {};
  std::optional<Range> laws_range = {};

  double difference() const { return loss - base_loss; }
};

/// How many times the FLOPs the base form takes for the least loss that the
/// other has for `flops`, by the laws; infinite where it never has that loss.
struct ComputeMultiplier {
  double flops = 0;
  double times = 0;
  std::optional<Range> range = {};
};

struct FormComparison {
  std::string base;
  std::string form;
  std::vector<LossDifference> cells = {};
  /// Of the logarithms of losses, so 0.01 is 1 % more than the base.
  std::optional<double> mean = {};
  std::optional<Range> mean_range = {};
  std::vector<ComputeMultiplier> multipliers = {};
};

/// `other` against `base`. Intervals of differences are Student's, with what
/// seeds do to all cells of `noise`; multipliers are at the ends and the
/// middle of the FLOPs that both were measured at, with intervals of the draws
/// of both laws.
FormComparison compare(const FormLosses& base,
                       const FormLosses& other,
                       const SeedNoise& noise);

}  // namespace mumoe::study
