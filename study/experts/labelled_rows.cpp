#include "study/experts/labelled_rows.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace mumoe::study {

LabelledRows LabelledRows::part(std::size_t begin, std::size_t count) const {
  std::vector<std::size_t> columns(count);
  std::iota(columns.begin(), columns.end(), begin);
  return part(columns);
}

LabelledRows LabelledRows::part(std::span<const std::size_t> columns) const {
  LabelledRows part{.width = columns.size(), .label = label, .labels = labels};
  for (std::size_t r = 0; r < rows(); ++r) {
    for (const std::size_t column : columns) {
      MUMOE_CHECK(column < width);
      part.values.push_back(row(r)[column]);
    }
  }
  return part;
}

Halves halves_of(const LabelledRows& rows) {
  std::vector<std::size_t> all(rows.labels), seen(rows.labels);
  for (const std::size_t label : rows.label) ++all[label];
  Halves halves;
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    const std::size_t label = rows.label[r];
    const bool first = 2 * seen[label]++ < all[label];
    (first ? halves.train : halves.test).push_back(r);
  }
  return halves;
}

std::vector<std::size_t> most_varying(const LabelledRows& rows,
                                      std::span<const std::size_t> over,
                                      std::size_t count) {
  std::vector<double> mean(rows.width), spread(rows.width);
  for (const std::size_t r : over) {
    for (std::size_t c = 0; c < rows.width; ++c) mean[c] += rows.row(r)[c];
  }
  for (double& each : mean) each /= static_cast<double>(over.size());
  for (const std::size_t r : over) {
    for (std::size_t c = 0; c < rows.width; ++c) {
      const double off = rows.row(r)[c] - mean[c];
      spread[c] += off * off;
    }
  }
  std::vector<std::size_t> columns(rows.width);
  std::iota(columns.begin(), columns.end(), std::size_t{0});
  std::ranges::stable_sort(columns, [&](std::size_t a, std::size_t b) {
    return spread[a] > spread[b];
  });
  columns.resize(std::min(count, columns.size()));
  std::ranges::sort(columns);
  return columns;
}

}  // namespace mumoe::study
