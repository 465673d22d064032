#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "study/experts/bootstrap.h"
#include "study/experts/specialise_result.h"

namespace mumoe::study {

/// A figure of several seeds.
struct SeedFigure {
  std::vector<double> values = {};  ///< Finite ones, in the order of seeds.

  std::optional<double> mean() const;
  /// Of the mean, 90 % by Student's distribution of the seeds; none of one.
  std::optional<Interval> interval() const;
};

/// One kind of head, over its seeds.
struct HeadFigures {
  std::string model;  ///< "cp-64-entmax15-batch"
  std::string head;
  std::int64_t experts = 0;
  std::string gate;
  std::string norm;
  std::int64_t parameters = 0;
  SeedFigure accuracy;         ///< Shares.
  SeedFigure polysemanticity;  ///< Means over experts.
  SeedFigure skipped;          ///< Shares of experts.
  SeedFigure dead;
};

/// Of the results that came to their end: linear heads first, then by norm,
/// gate and number of experts.
std::vector<HeadFigures> head_figures(
    const std::vector<SpecialiseResult>& results);

/// "entmax15, batch norm"
std::string gate_text(const HeadFigures& head);

}  // namespace mumoe::study
