#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mumoe::study {

/// Rows of numbers, of each of which a label from 0 to `labels` - 1 is known.
struct LabelledRows {
  std::size_t width = 0;
  std::vector<double> values = {};  ///< [rows, width], row-major.
  std::vector<std::size_t> label = {};
  std::size_t labels = 0;

  std::size_t rows() const { return label.size(); }
  std::span<const double> row(std::size_t index) const {
    return std::span(values).subspan(index * width, width);
  }
  /// The same rows, of columns [begin, begin + count) alone; of `columns`.
  LabelledRows part(std::size_t begin, std::size_t count) const;
  LabelledRows part(std::span<const std::size_t> columns) const;
};

/// Rows to learn from, and rows to be asked.
struct Halves {
  std::vector<std::size_t> train;
  std::vector<std::size_t> test;
};

/// Of each label the first half of its rows, in their order, to learn from, one
/// more where they are odd: rows that come after each other in a text are on
/// one side.
Halves halves_of(const LabelledRows& rows);

/// The `count` columns that vary most over the rows `over`, of equals the
/// first, from left to right.
std::vector<std::size_t> most_varying(const LabelledRows& rows,
                                      std::span<const std::size_t> over,
                                      std::size_t count);

}  // namespace mumoe::study
