#include "study/report/scale_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "study/report/inline_svg.h"
#include "study/report/page.h"
#include "study/report/scale_cells.h"
#include "study/report/scale_charts.h"
#include "study/report/scale_tables.h"

namespace mumoe::study {
namespace {

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

/// What was run, in a few lines.
std::vector<std::string> facts(const std::vector<ScaleCell>& cells) {
  std::size_t runs = 0, failures = 0, measured = 0;
  std::set<std::string> versions, precisions;
  std::string first, last;
  for (const ScaleCell& cell : cells) {
    runs += cell.runs.size();
    failures += cell.failures.size();
    measured += cell.measured() ? 1 : 0;
    for (const ScaleResult& run : cell.runs) {
      versions.insert(run.version);
      precisions.insert(run.precision);
      if (first.empty() || run.finished < first) first = run.finished;
      last = std::max(last, run.finished);
    }
  }
  std::vector<std::string> lines = {
      fmt::format("{} of {} measured, in {}; {} failed",
                  measured,
                  counted(cells.size(), "cell"),
                  counted(runs, "run"),
                  counted(failures, "run"))};
  if (runs > 0) {
    lines.push_back(fmt::format("mumoe {}", fmt::join(versions, ", ")));
    lines.push_back(fmt::format("precision {}", fmt::join(precisions, ", ")));
    lines.push_back(fmt::format("finished {} to {}", first, last));
  }
  const auto line = prediction_line(cells);
  if (!line.empty()) lines.push_back(line);
  return lines;
}

void explain(Page& page, const std::vector<ScaleCell>& cells) {
  page.section("What is compared with what");
  page.paragraph(
      "Strong scaling keeps the batch of all ranks together, so that more "
      "ranks share the same work; weak scaling keeps the batch of one rank, "
      "so that work grows with the ranks. Each model is compared with itself "
      "only: efficiency is its throughput a rank, relative to its fastest cell "
      "of the same scaling and precision on the fewest ranks, and the dotted "
      "ideal is that cell's throughput times the ranks.");
  page.paragraph(
      "A point is one cell: the median over its repeats, each the median of "
      "its measured steps, with a bar from the least to the largest repeat. A "
      "line joins cells that differ in the number of ranks alone; the cell of "
      "one rank is the start of every line of its model. Dashed lines with a "
      "band are the model of costs and its 90 % interval, "
      "where the results have it.");
  const bool mixed = targets_of(cells) == "targets";
  page.paragraph(fmt::format(
      "Throughput counts target {}. MFU is the model's own FLOPs over "
      "the time of a step, of the ranks' peak; what is computed again is not "
      "counted. Speed of light (SoL) is the time that the step's products "
      "alone would take at that peak, over the time of the step.{}",
      targets_of(cells) == "images" ? "images" : "tokens",
      mixed ? " Models of images count images: they do not compare with the "
              "others."
            : ""));
}

void add_charts(const std::filesystem::path& out,
                Page& page,
                const std::vector<ScaleCell>& cells) {
  std::string subject;
  for (const NamedChart& named : scale_charts(cells)) {
    const std::string svg = chart_svg(named.chart);
    write_file_atomically(out / (named.name + ".svg"), svg);
    write_file_atomically(out / (named.name + ".png"), chart_png(named.chart));
    if (named.subject != subject) page.section(named.subject);
    subject = named.subject;
    page.figure(inline_svg(svg, named.name, named.chart.title),
                fmt::format("{} ({}.svg, .png)", named.caption, named.name));
  }
  const bool exposed =
      std::any_of(cells.begin(), cells.end(), [](const ScaleCell& cell) {
        return cell.spread([](auto& run) { return run.exposed_ms; })
            .has_value();
      });
  if (!exposed) {
    page.paragraph(
        "Exposed communication is not shown: no run has measured it.");
  }
}

}  // namespace

void write_scale_report(const std::filesystem::path& out,
                        const std::vector<ScaleResult>& results,
                        std::string_view title) {
  require(!results.empty(),
          "{}: no results to report; expected at least one run",
          out.string());
  std::error_code error;
  std::filesystem::create_directories(out, error);
  require(!error, "{}: {}", out.string(), error.message());
  const auto cells = cells_of(results);
  Page page(title);
  page.list(facts(cells));
  explain(page, cells);
  add_charts(out, page, cells);
  page.section("All cells");
  page.table(cell_table(cells));
  page.section("Models");
  page.table(model_table(cells));
  const Table failures = failure_table(cells);
  page.section("Failures");
  if (failures.rows.empty()) {
    page.paragraph("No run failed.");
  } else {
    page.table(failures);
  }
  page.section("Runs and command lines");
  page.table(run_table(cells));
  write_file_atomically(out / "report.html", page.html());
}

}  // namespace mumoe::study
