#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "study/experts/bootstrap.h"
#include "study/experts/labelled_rows.h"

namespace mumoe::study {

/// I(X; Y) = Σ p(x, y) ln p(x, y) / (p(x) p(y)), nats, of masses [rows,
/// columns] that are not negative, row-major; 0 where they are all zero.
double mutual_information(std::span<const double> masses, std::size_t columns);

/// How much the expert that works says of the label of what it works on.
struct DomainInformation {
  /// I(expert; label), p(n, s) the coefficient a_n of the tokens of label s,
  /// summed, of all such sums. Nats.
  double information = 0;
  /// The middle 90 % when rows are drawn again.
  std::optional<Interval> interval = {};
  /// The same with labels dealt to rows by chance, mean of the draws, and what
  /// 95 % of them stay below: what so few rows show of nothing.
  double shuffled = 0;
  double shuffled_high = 0;
  /// The entropy of the labels: of experts that each know one label alone.
  double oracle = 0;

  /// Where `information` lies from `shuffled` (0) to `oracle` (1).
  double share() const;
};

/// Of the experts whose mean coefficients `rows` has, with so many draws for
/// each of the two.
DomainInformation domain_information(const LabelledRows& rows, int draws);

}  // namespace mumoe::study
