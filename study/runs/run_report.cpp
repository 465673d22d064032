#include "study/runs/run_report.h"

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "study/report/inline_svg.h"
#include "study/report/page.h"
#include "study/runs/run_charts.h"
#include "study/runs/run_tables.h"
#include "train/tensorboard.h"

namespace mumoe::study {
namespace {

using Runs = std::span<const RunRecord>;

std::vector<std::string> facts(Runs runs) {
  std::vector<std::string> lines;
  for (const RunRecord& run : runs) {
    const RunSummary s = summary_of(run);
    std::string line = fmt::format("{}: {} of {} steps in {}, loss {:.4f}",
                                   run.name,
                                   s.steps,
                                   run.setting("train.steps"),
                                   time_text(s.elapsed_s),
                                   s.loss);
    if (s.best_step > 0) {
      line += fmt::format(", validation loss {:.4f} (best {:.4f}, step {})",
                          s.last_loss,
                          s.best_loss,
                          s.best_step);
    }
    if (s.bad_steps > 0) line += fmt::format(", {} bad steps", s.bad_steps);
    if (s.failed_saves > 0) {
      line += fmt::format(", {} failed saves", s.failed_saves);
    }
    if (s.resumes > 0) line += fmt::format(", resumed {} times", s.resumes);
    if (run.metrics.growing) line += "; a line was being written";
    lines.push_back(std::move(line));
  }
  return lines;
}

void add_table(Page& page, const char* title, const Table& table) {
  if (table.rows.empty()) return;
  page.section(title);
  page.table(table);
}

void add_charts(const std::filesystem::path& folder, Page& page, Runs runs) {
  for (const NamedChart& named : run_charts(runs)) {
    const std::string svg = chart_svg(named.chart);
    write_file_atomically(folder / (named.name + ".svg"), svg);
    write_file_atomically(folder / (named.name + ".png"),
                          chart_png(named.chart));
    page.section(named.subject);
    page.figure(inline_svg(svg, named.name, named.chart.title),
                fmt::format("{} ({}.svg, .png)", named.caption, named.name));
  }
}

void add_samples(Page& page, Runs runs) {
  Table table;
  table.columns = {{"run"},
                   {"step", Column::Kind::number},
                   {"text", Column::Kind::code}};
  for (const RunRecord& run : runs) {
    for (const RunEvent& sample : newest_samples(run)) {
      table.rows.push_back(
          {run.name, fmt::format("{}", sample.step), sample.text});
    }
  }
  add_table(page, "What the models wrote", table);
}

}  // namespace

void write_run_report(const std::filesystem::path& folder, Runs runs) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: {}", folder.string(), error.message());
  Page page(runs.size() == 1 ? "Run " + runs[0].name
                             : fmt::format("{} runs", runs.size()));
  page.list(facts(runs));
  add_table(page, runs.size() == 1 ? "Summary" : "Runs", run_table(runs));
  add_charts(folder, page, runs);
  add_table(page, "Experts of each layer", expert_table(runs));
  add_table(page, "Events", event_table(runs));
  add_samples(page, runs);
  add_table(page, "Layout and provenance", provenance_table(runs));
  add_table(page,
            runs.size() == 1 ? "Settings" : "Settings that differ",
            settings_table(runs));
  write_file_atomically(folder / "report.html", page.html());
}

std::filesystem::path write_events(const std::filesystem::path& folder,
                                   const RunRecord& run) {
  const auto own = folder / run.name;
  train::TensorBoard board(own, 0);
  read_metrics(run.folder / "metrics.jsonl",
               {[&](const train::StepReport& report) { board.write(report); },
                [&](const RunEvent& event) {
                  if (event.what == "sample") {
                    board.write_text(event.step, 0, event.text);
                  }
                }});
  require(board.problem().empty(), "{}", board.problem());
  return own;
}

}  // namespace mumoe::study
