#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mumoe::study {

/// `text` as HTML's text or an attribute's value: < > & " ' are spelled out,
/// and control characters are U+FFFD.
std::string escaped(std::string_view text);

struct Column {
  std::string name;
  /// Words stay on one line; prose and code do not.
  enum class Kind { words, prose, number, code } kind = Kind::words;
};

struct Table {
  std::string caption;
  std::vector<Column> columns;
  /// Each as many cells as there are columns.
  std::vector<std::vector<std::string>> rows;
};

/// One HTML page that needs nothing else: no links outwards, no scripts, no
/// fonts; in light and dark mode, on small screens and on paper. All text is
/// escaped here.
class Page {
 public:
  explicit Page(std::string_view title);

  /// Begins a section, which the table of contents names.
  void section(std::string_view title);
  void paragraph(std::string_view text);
  void list(const std::vector<std::string>& items);
  /// `svg`: an element of `inline_svg`.
  void figure(std::string_view svg, std::string_view caption);
  void table(const Table& table);

  /// The whole page.
  std::string html() const;

 private:
  std::string title_;
  std::vector<std::string> sections_;
  std::string body_;
};

}  // namespace mumoe::study
