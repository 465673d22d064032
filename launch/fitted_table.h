#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace mumoe::launch {

/// Lines for a terminal: no line is longer than its columns, unless a word is.
class FittedTable {
 public:
  using Cells = std::vector<std::string>;

  explicit FittedTable(std::size_t columns) : columns_(columns) {}

  /// `label`, and beside it `words`, which are parted by commas and not broken
  /// where a line has room for them. Nothing where there are no words.
  FittedTable& fact(const std::string& label, const Cells& words);
  FittedTable& fact(const std::string& label, const std::string& words) {
    return fact(label, Cells{words});
  }
  /// Rows under a head, behind an empty line: the first column to the left, the
  /// others to the right; no column in which all is empty. Where they have no
  /// room, each row is a paragraph, in which empty cells are left out.
  FittedTable& rows(const Cells& head, const std::vector<Cells>& rows);

  /// Without the last end of a line.
  std::string text() const;

 private:
  void columns_of(const std::vector<Cells>& rows,
                  const std::vector<std::size_t>& widths);
  void fill(const Cells& words, std::size_t first, std::size_t indent);

  std::size_t columns_;
  std::string text_;
};

}  // namespace mumoe::launch
