#include "study/report/page.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mumoe::study {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5b5b5b;
  --line: #d4d4d4; --page: #ffffff; --shade: #f4f5f7; --accent: #00599a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a6a6a6;
  --line: #3a3d42; --page: #141619; --shade: #1e2126; --accent: #6db8f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem;
  background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .9rem;
  border-top: 1px solid var(--line); }
h1, h2, p, li { overflow-wrap: anywhere; }
p, ul { max-width: 48rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { margin: 1rem 0 0; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem;
  margin: 0; padding: 0; max-width: none; }
figure { margin: 1.5rem 0 2rem; break-inside: avoid; overflow-x: auto; }
figure svg { display: block; max-width: 100%; min-width: 44rem; height: auto; }
figcaption, caption { color: var(--soft); font-size: .875rem; max-width: 48rem;
  text-align: left; }
figcaption { margin-top: .25rem; }
caption { padding-bottom: .4rem; }
.wide { overflow-x: auto; width: min(100vw - 3.5rem, 108rem); position: relative;
  left: 50%; transform: translateX(-50%); margin: 1rem 0 2rem; }
.wide table { margin: 0 auto; min-width: min(100%, 59.5rem); }
table { border-collapse: collapse; font-size: .8125rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { background: var(--shade); vertical-align: bottom; font-weight: 600;
  border-bottom: 2px solid var(--line); }
th.n, td.n { text-align: right; }
td { white-space: nowrap; }
td.p, td.c { white-space: normal; min-width: 16rem; }
td.c { min-width: 24rem; }
tbody tr:hover { background: var(--shade); }
code { font: .92em/1.4 ui-monospace, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff;
    --shade: #f2f2f2; --accent: #000; color-scheme: light; }
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  .wide, figure { overflow: visible; }
  .wide { width: auto; left: 0; transform: none; }
  figure svg { min-width: 0; }
  table { font-size: 6.5pt; width: 100%; }
  th, td { padding: .15rem .25rem; }
  td.p, td.c { min-width: 0; }
})";

const char* class_of(const Column& column) {
  switch (column.kind) {
    case Column::Kind::number:
      return " class=\"n\"";
    case Column::Kind::prose:
      return " class=\"p\"";
    case Column::Kind::code:
      return " class=\"c\"";
    default:
      return "";
  }
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '&':
        html += "&amp;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      case '\n':
      case '\t':
        html += c;
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          html += "\ufffd";
        } else {
          html += c;
        }
    }
  }
  return html;
}

Page::Page(std::string_view title) : title_(escaped(title)) {}

void Page::section(std::string_view title) {
  sections_.push_back(escaped(title));
  body_ += fmt::format("<h2 id=\"s{}\">{}</h2>\n",
                       sections_.size(),
                       sections_.back());
}

void Page::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escaped(text));
}

void Page::list(const std::vector<std::string>& items) {
  body_ += "<ul>\n";
  for (const std::string& item : items) {
    body_ += fmt::format("<li>{}</li>\n", escaped(item));
  }
  body_ += "</ul>\n";
}

void Page::figure(std::string_view svg, std::string_view caption) {
  body_ += fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n",
                       svg,
                       escaped(caption));
}

void Page::table(const Table& table) {
  body_ += "<div class=\"wide\"><table>\n";
  if (!table.caption.empty()) {
    body_ += fmt::format("<caption>{}</caption>\n", escaped(table.caption));
  }
  body_ += "<thead><tr>";
  for (const Column& column : table.columns) {
    body_ +=
        fmt::format("<th{}>{}</th>", class_of(column), escaped(column.name));
  }
  body_ += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    MUMOE_CHECK(row.size() == table.columns.size(), "a row of a table");
    body_ += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool code =
          table.columns[i].kind == Column::Kind::code && !row[i].empty();
      body_ += fmt::format("<td{}>{}{}{}</td>",
                           class_of(table.columns[i]),
                           code ? "<code>" : "",
                           escaped(row[i]),
                           code ? "</code>" : "");
    }
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

std::string Page::html() const {
  std::string contents;
  for (std::size_t i = 0; i < sections_.size(); ++i) {
    contents +=
        fmt::format("<li><a href=\"#s{}\">{}</a></li>\n", i + 1, sections_[i]);
  }
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n"
      "<title>{0}</title>\n<style>{1}\n</style>\n</head>\n<body>\n"
      "<h1>{0}</h1>\n<nav aria-label=\"Contents\"><ul>\n{2}</ul></nav>\n"
      "<main>\n{3}</main>\n</body>\n</html>\n",
      title_,
      kStyle,
      contents,
      body_);
}

}  // namespace mumoe::study
