#include "study/report/inline_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "study/report/canvas.h"
#include "study/report/page.h"

namespace mumoe::study {
namespace {

/// The value of attribute `name` in a tag, without its quotes.
std::string_view attribute(std::string_view tag, std::string_view name) {
  const auto opening = fmt::format(" {}=\"", name);
  const auto begin = tag.find(opening);
  MUMOE_CHECK(begin != tag.npos, "an SVG of cairo without {}", name);
  tag.remove_prefix(begin + opening.size());
  return tag.substr(0, tag.find('"'));
}

/// Puts `insert` behind every `mark` in `text`.
void insert_after(std::string& text,
                  std::string_view mark,
                  std::string_view insert) {
  for (std::size_t at = 0; (at = text.find(mark, at)) != text.npos;) {
    at += mark.size();
    text.insert(at, insert);
    at += insert.size();
  }
}

/// Whether "rgb(13%, 13%, 13%)", up to its bracket, is the ink.
bool is_ink(std::string_view colour) {
  std::string text(colour.substr(colour.find('(') + 1));
  std::replace(text.begin(), text.end(), ',', ' ');
  std::replace(text.begin(), text.end(), '%', ' ');
  const char* at = text.c_str();
  for (const double wanted : {kInk.red, kInk.green, kInk.blue}) {
    char* end = nullptr;
    const double percent = std::strtod(at, &end);
    if (end == at || std::abs(percent / 100 - wanted) > 0.003) return false;
    at = end;
  }
  return true;
}

void take_colour_of_page(std::string& text) {
  for (std::size_t at = 0; (at = text.find("rgb(", at)) != text.npos;) {
    const auto end = text.find(')', at);
    if (end == text.npos) return;
    if (is_ink(std::string_view(text).substr(at, end - at))) {
      text.replace(at, end + 1 - at, "currentColor");
    }
    at += 4;
  }
}

}  // namespace

std::string inline_svg(std::string_view svg,
                       std::string_view name,
                       std::string_view label) {
  const auto begin = svg.find("<svg");
  const auto end = svg.find('>', begin);
  MUMOE_CHECK(begin != svg.npos && end != svg.npos, "no SVG");
  const auto tag = svg.substr(begin, end - begin);
  std::string content(svg.substr(end + 1));
  for (const std::string_view mark : {"id=\"", "href=\"#", "url(#"}) {
    insert_after(content, mark, fmt::format("{}-", name));
  }
  take_colour_of_page(content);
  const std::string box(attribute(tag, "viewBox"));
  const auto width = std::strtod(attribute(tag, "width").data(), nullptr);
  return fmt::format(
      "<svg role=\"img\" aria-label=\"{}\" viewBox=\"{}\" "
      "style=\"width:{:.0f}px\">{}",
      escaped(label),
      box,
      width,
      content);
}

}  // namespace mumoe::study
