#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::testing {

inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; ++count) {
    at += part.size();
  }
  return count;
}

/// What is wrong with an SVG or HTML file of tags that are all closed: one that
/// is not, that is closed twice or in the wrong order, a bare < or & in text.
/// Empty: nothing.
inline std::string markup_error(std::string_view text) {
  static constexpr std::array<std::string_view, 2> kEmpty = {"meta", "br"};
  std::vector<std::string> open;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string near(text.substr(at, 40));
    if (text[at] == '&') {
      const auto end = text.find(';', at);
      if (end == text.npos || end - at > 7) return "a bare & at " + near;
      continue;
    }
    if (text[at] != '<') continue;
    const auto end = text.find('>', at);
    if (end == text.npos) return "no > for " + near;
    auto tag = text.substr(at + 1, end - at - 1);
    at = end;
    if (tag.empty() || tag.find('<') != tag.npos) return "a bare < at " + near;
    if (tag[0] == '!' || tag[0] == '?') continue;
    if (count_of(tag, "\"") % 2 != 0) return "an odd quote in " + near;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) {
        return "not open: " + near;
      }
      open.pop_back();
      continue;
    }
    const std::string name(tag.substr(0, tag.find_first_of(" /\n")));
    const bool empty =
        tag.back() == '/' || std::ranges::count(kEmpty, name) > 0;
    if (!empty) open.push_back(name);
  }
  return open.empty() ? "" : "not closed: " + open.back();
}

}  // namespace mumoe::testing
