#include "study/report/loss_report.h"

#include <fmt/format.h>

#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "study/loss/loss_analysis.h"
#include "study/report/inline_svg.h"
#include "study/report/loss_charts.h"
#include "study/report/loss_tables.h"
#include "study/report/page.h"

namespace mumoe::study {
namespace {

std::vector<std::string> facts(const LossAnalysis& analysis) {
  std::size_t models = 0;
  for (const FormLosses& form : analysis.forms) models += form.curves.size();
  std::vector<std::string> lines = {
      fmt::format("{} runs of {} models", analysis.points, models)};
  if (analysis.noise.degrees > 0) {
    lines.push_back(
        fmt::format("seeds of one cell deviate by {:.2f} % of the loss",
                    100 * analysis.noise.deviation));
  }
  for (auto& line : comparison_lines(analysis)) lines.push_back(line);
  for (auto& line : loss_notes(analysis)) lines.push_back(line);
  return lines;
}

void explain(Page& page, const LossAnalysis& analysis) {
  page.section("How this is found");
  page.paragraph(
      "The law is L(N, D) = E + A / N^alpha + B / D^beta, with N parameters "
      "(embeddings left out) and D tokens (Hoffmann et al., 2022, section "
      "3.3), fitted to the logarithms of losses with Huber's loss of 0.001, "
      "from a grid of exponents.");
  page.paragraph(fmt::format(
      "Intervals are of 90 %: percentiles of the laws of {} draws, each of as "
      "many cells (model and tokens) as there are, drawn with replacement, and "
      "of each cell as many of its seeds. They say how the law would vary with "
      "other runs of this study, not whether it holds beyond its sizes and "
      "tokens.",
      analysis.draws));
  page.paragraph(
      "Curves at equal FLOPs take C = factor N D, with the factor of each "
      "form. Where at least three sizes were measured on both sides of a "
      "budget, a parabola in log N goes through their losses at it; it needs "
      "no law. Forms are compared at equal parameters and tokens between "
      "measured models (straight in logarithms), with an interval by the "
      "seeds (Student's), and by their laws.");
}

void add_table(Page& page, const char* title, const Table& table) {
  if (table.rows.empty()) return;
  page.section(title);
  page.table(table);
}

void add_charts(const std::filesystem::path& folder,
                Page& page,
                const LossAnalysis& analysis) {
  for (const NamedChart& named : loss_charts(analysis)) {
    const std::string svg = chart_svg(named.chart);
    write_file_atomically(folder / (named.name + ".svg"), svg);
    write_file_atomically(folder / (named.name + ".png"),
                          chart_png(named.chart));
    page.section(named.subject);
    page.figure(inline_svg(svg, named.name, named.chart.title),
                fmt::format("{} ({}.svg, .png)", named.caption, named.name));
  }
}

}  // namespace

void write_loss_report(const std::filesystem::path& folder,
                       std::span<const LossPoint> points,
                       const std::string& name,
                       const DrawOptions& draws) {
  const auto analysis = analyse_losses(points, draws);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: {}", folder.string(), error.message());
  Page page(name);
  page.list(facts(analysis));
  add_table(page, "Laws", law_table(analysis));
  add_charts(folder, page, analysis);
  add_table(page, "Best sizes", optimum_table(analysis));
  add_table(page, "Best sizes without a law", parabola_table(analysis));
  add_table(page, "Forms at equal size and tokens", difference_table(analysis));
  add_table(page, "Compute for the same loss", multiplier_table(analysis));
  explain(page, analysis);
  add_table(page, "Fits", fit_table(analysis));
  add_table(page, "All models", loss_cell_table(analysis));
  write_file_atomically(folder / "report.html", page.html());
}

}  // namespace mumoe::study
