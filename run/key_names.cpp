#include "run/key_names.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

/// Levenshtein's distance.
std::size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

/// Which of `known` (at least one) looks most like `name`.
const std::string& nearest(const std::vector<std::string>& known,
                           const std::string& name) {
  return *std::min_element(known.begin(),
                           known.end(),
                           [&](const std::string& a, const std::string& b) {
                             return edits(a, name) < edits(b, name);
                           });
}

}  // namespace

std::vector<std::string> key_names(const std::string& section) {
  std::vector<std::string> names;
  if (section.empty()) return names;
  for (const Key& key : option_table()) {
    if ((section == "*" || key.name.starts_with(section + ".")))
      names.push_back(key.name);
  }
  return names;
}

std::string in_any_section(const std::string& name) {
  std::vector<std::string> names;
  std::string same;
  for (const Key& key : option_table()) {
    names.push_back(key.name.substr(key.name.find('.') + 1));
    if (names.back() == name) same += (same.empty() ? "" : " or ") + key.name;
  }
  const std::string& found = nearest(names, name);
  return same.empty() ? option_table()[&found - names.data()].name : same;
}

void refuse_unknown(const std::string& name,
                    const std::string& where,
                    const std::vector<std::string>& known) {
  fail<InputError>("{}: unknown key {}; did you mean {}?",
                   where,
                   name,
                   nearest(known, name));
}

}  // namespace mumoe::run
