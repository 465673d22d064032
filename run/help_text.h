#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "run/command_line.h"

namespace mumoe::run {

/// A text for people, written for a terminal: no line is longer than its
/// `columns` (at least 40).
class HelpText {
 public:
  explicit HelpText(std::size_t columns);

  /// Words between empty lines.
  HelpText& paragraph(const std::string& words);
  /// A line that stands over what follows.
  HelpText& heading(const std::string& words);
  /// A command; what stands in brackets is not parted.
  HelpText& command(const std::string& words);
  /// An option, beside what it means.
  HelpText& option(const std::string& name, const std::string& meaning);
  HelpText& options(const std::vector<OwnOption>& all);
  /// The keys of `section` ("*": of all, each under its heading), with values,
  /// meaning and default.
  HelpText& keys(const std::string& section);

  const std::string& text() const { return text_; }

 private:
  void part_from_above();
  void fill(const std::string& words, std::size_t first, std::size_t indent);

  std::size_t columns_;
  std::string text_;
};

}  // namespace mumoe::run
