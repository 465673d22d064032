#include "study/report/study_page.h"

#include <fmt/format.h>

#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "study/report/chart.h"
#include "study/report/inline_svg.h"

namespace mumoe::study {

void write_study_page(const std::filesystem::path& folder,
                      const StudyFindings& findings) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: {}", folder.string(), error.message());
  Page page(findings.title);
  std::vector<std::string> facts;
  for (const auto& [label, words] : findings.facts) {
    facts.push_back(fmt::format("{}: {}", label, words));
  }
  page.list(facts);
  std::string subject;
  for (const NamedChart& named : findings.charts) {
    const std::string svg = chart_svg(named.chart);
    write_file_atomically(folder / (named.name + ".svg"), svg);
    write_file_atomically(folder / (named.name + ".png"),
                          chart_png(named.chart));
    if (named.subject != subject) page.section(named.subject);
    subject = named.subject;
    page.figure(inline_svg(svg, named.name, named.chart.title),
                fmt::format("{} ({}.svg, .png)", named.caption, named.name));
  }
  page.section("Figures");
  for (const Table& table : findings.tables) page.table(table);
  for (const std::string& note : findings.notes) page.paragraph(note);
  write_file_atomically(folder / "report.html", page.html());
}

}  // namespace mumoe::study
