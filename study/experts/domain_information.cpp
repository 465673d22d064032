#include "study/experts/domain_information.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/order.h"

namespace mumoe::study {
namespace {

constexpr std::uint64_t kShuffleSeed = 1;

/// [width, labels] of the rows `items`, with the labels `label`.
std::vector<double> masses_of(const LabelledRows& rows,
                              std::span<const std::size_t> items,
                              std::span<const std::size_t> label) {
  std::vector<double> masses(rows.width * rows.labels);
  for (const std::size_t item : items) {
    const auto row = rows.row(item);
    double* const column = masses.data() + label[item] * rows.width;
    for (std::size_t n = 0; n < rows.width; ++n) column[n] += row[n];
  }
  return masses;
}

}  // namespace

double mutual_information(std::span<const double> masses, std::size_t columns) {
  const std::size_t rows = masses.size() / columns;
  std::vector<double> of_row(rows), of_column(columns);
  double sum = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      const double mass = masses[r * columns + c];
      of_row[r] += mass;
      of_column[c] += mass;
      sum += mass;
    }
  }
  double information = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      const double mass = masses[r * columns + c];
      if (mass <= 0) continue;
      information +=
          mass / sum * std::log(mass / of_row[r] * (sum / of_column[c]));
    }
  }
  return information;
}

double DomainInformation::share() const {
  return oracle > shuffled ? (information - shuffled) / (oracle - shuffled) : 0;
}

DomainInformation domain_information(const LabelledRows& rows, int draws) {
  std::vector<std::size_t> all(rows.rows());
  std::iota(all.begin(), all.end(), std::size_t{0});
  DomainInformation found;
  // Labels are the rows there.
  found.information =
      mutual_information(masses_of(rows, all, rows.label), rows.width);
  found.interval = bootstrap(
      rows.rows(),
      [&](std::span<const std::size_t> items) {
        return mutual_information(masses_of(rows, items, rows.label),
                                  rows.width);
      },
      draws);
  std::vector<double> shuffled;
  std::vector<std::size_t> dealt(rows.rows());
  for (int draw = 0; draw < draws; ++draw) {
    for (std::size_t r = 0; r < dealt.size(); ++r) {
      dealt[r] = rows.label[data::permute(kShuffleSeed,
                                          static_cast<std::uint64_t>(draw),
                                          dealt.size(),
                                          r)];
    }
    shuffled.push_back(
        mutual_information(masses_of(rows, all, dealt), rows.width));
  }
  found.shuffled = mean_of(shuffled);
  std::ranges::sort(shuffled);
  found.shuffled_high =
      shuffled[static_cast<std::size_t>(0.95 * (draws - 1) + 0.5)];
  std::vector<double> of_label(rows.labels);
  for (const std::size_t label : rows.label) of_label[label] += 1;
  for (const double count : of_label) {
    const double share = count / static_cast<double>(rows.rows());
    if (share > 0) found.oracle -= share * std::log(share);
  }
  return found;
}

}  // namespace mumoe::study
