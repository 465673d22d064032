#pragma once

#include <string>
#include <string_view>

namespace mumoe::study {

/// An SVG file of `chart_svg` as an element of an HTML page: without the file's
/// head and namespaces, with names of its own (several would share glyphs),
/// ink in the colour of the page's text, and `label` for those who do not see
/// it. `name` is of letters, digits, - and _.
std::string inline_svg(std::string_view svg,
                       std::string_view name,
                       std::string_view label);

}  // namespace mumoe::study
