#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "study/loss/loss_analysis.h"
#include "study/report/loss_report.h"
#include "study/report/loss_tables.h"

namespace mumoe::study {
namespace {

constexpr std::size_t kColumns = 80;

/// Characters of UTF-8, each as wide as a column.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

/// In lines of up to 80 columns, broken at blanks, all but the first indented.
std::string wrapped(std::string_view text) {
  std::string lines;
  std::size_t used = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const auto word = text.substr(begin, end - begin);
    const std::size_t width = width_of(word);
    if (used > 0 && used + 1 + width > kColumns) {
      lines += "\n  ";
      used = 2;
    } else if (used > 0) {
      lines += ' ';
      ++used;
    }
    lines += word;
    used += width;
    begin = end + 1;
  }
  return lines + '\n';
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string blanks(width - std::min(width, width_of(text)), ' ');
  return right ? blanks + text : text + blanks;
}

std::string text_of(const Table& table) {
  if (table.rows.empty()) return {};
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = width_of(table.columns[i].name);
    for (const auto& row : table.rows) {
      width = std::max(width, width_of(row[i]));
    }
    widths.push_back(width);
  }
  std::size_t wide = 2 * (widths.size() - 1);
  for (const std::size_t width : widths) wide += width;
  const char* gap = wide > kColumns ? " " : "  ";
  std::string text = "\n" + wrapped(table.caption);
  const auto add = [&](const auto& cell_of) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const bool right = table.columns[i].kind == Column::Kind::number;
      line += (i == 0 ? "" : gap) + padded(cell_of(i), widths[i], right);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  };
  add([&](std::size_t i) { return table.columns[i].name; });
  for (const auto& row : table.rows) add([&](std::size_t i) { return row[i]; });
  return text;
}

}  // namespace

std::string loss_text(std::span<const LossPoint> points,
                      const DrawOptions& draws) {
  const auto analysis = analyse_losses(points, draws);
  std::string text;
  for (const auto& line : comparison_lines(analysis)) text += wrapped(line);
  for (const auto& line : loss_notes(analysis)) text += wrapped(line);
  for (const Table& table : {law_table(analysis),
                             fit_table(analysis),
                             optimum_table(analysis),
                             parabola_table(analysis),
                             difference_table(analysis),
                             multiplier_table(analysis)}) {
    text += text_of(table);
  }
  text.erase(0, text.find_first_not_of('\n'));
  return text;
}

}  // namespace mumoe::study
