#include "launch/fitted_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace mumoe::launch {
namespace {

constexpr std::size_t kLabel = 12;
constexpr std::size_t kGap = 2;
constexpr std::size_t kIndent = 4;

/// The words of a text.
FittedTable::Cells part(const std::string& text) {
  FittedTable::Cells words(1);
  for (const char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

}  // namespace

void FittedTable::fill(const Cells& words,
                       std::size_t first,
                       std::size_t indent) {
  std::size_t used = first;
  bool empty = true;
  const auto put = [&](const std::string& word) {
    if (!empty && used + 1 + word.size() > columns_) {
      text_ += "\n" + std::string(indent, ' ');
      used = indent;
      empty = true;
    }
    if (!empty) text_ += ' ';
    text_ += word;
    used += word.size() + (empty ? 0 : 1);
    empty = false;
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i] + (i + 1 < words.size() ? "," : "");
    if (indent + word.size() <= columns_) {
      put(word);
    } else {
      for (const std::string& each : part(word)) put(each);
    }
  }
  text_ += '\n';
}

FittedTable& FittedTable::fact(const std::string& label, const Cells& words) {
  if (words.empty()) return *this;
  text_ += fmt::format("{:<{}}", label, kLabel);
  fill(words, kLabel, kLabel);
  return *this;
}

FittedTable& FittedTable::rows(const Cells& head,
                               const std::vector<Cells>& rows) {
  if (rows.empty()) return *this;
  std::vector<Cells> all(rows.size() + 1);
  for (std::size_t i = 0; i < head.size(); ++i) {
    const auto is_empty = [&](const Cells& cells) { return cells[i].empty(); };
    if (std::ranges::all_of(rows, is_empty)) continue;
    all[0].push_back(head[i]);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      all[row + 1].push_back(rows[row][i]);
    }
  }
  std::vector<std::size_t> widths(all[0].size(), 0);
  for (const Cells& cells : all) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      widths[i] = std::max(widths[i], cells[i].size());
    }
  }
  text_ += '\n';
  const std::size_t width =
      std::accumulate(widths.begin(), widths.end(), std::size_t{0}) +
      kGap * (widths.size() - 1);
  if (width <= columns_) {
    columns_of(all, widths);
    return *this;
  }
  for (const Cells& cells : rows) {
    fill({fmt::format("{} {}", head.front(), cells.front())}, 0, kIndent);
    Cells words;
    for (std::size_t i = 1; i < cells.size(); ++i) {
      if (cells[i].empty()) continue;
      words.push_back(fmt::format("{} {}", head[i], cells[i]));
    }
    text_ += std::string(kIndent, ' ');
    fill(words, kIndent, kIndent);
  }
  return *this;
}

void FittedTable::columns_of(const std::vector<Cells>& rows,
                             const std::vector<std::size_t>& widths) {
  for (const Cells& cells : rows) {
    std::string line = fmt::format("{:<{}}", cells.front(), widths.front());
    for (std::size_t i = 1; i < cells.size(); ++i) {
      line += fmt::format("{:>{}}", cells[i], widths[i] + kGap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text_ += line + "\n";
  }
}

std::string FittedTable::text() const {
  std::string text = text_;
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace mumoe::launch
