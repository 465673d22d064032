#include "data/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace mumoe::data {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// How many letters to change, add or leave out turn `a` into `b`.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t corner = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = corner + (lower(a[i]) != lower(b[j]));
      corner = row[j + 1];
      row[j + 1] = std::min({change, corner + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(std::string_view name,
                         const std::vector<std::string_view>& known) {
  if (known.empty()) return "";
  const auto best = std::ranges::min_element(known, {}, [&](auto other) {
    return distance(name, other);
  });
  // No more than a third of it wrong.
  if (distance(name, *best) * 3 > best->size()) return "";
  return fmt::format(" (did you mean {}?)", *best);
}

}  // namespace mumoe::data
