#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "launch/commands.h"
#include "launch/fitted_table.h"
#include "launch/positional.h"
#include "launch/show_facts.h"
#include "run/command_line.h"
#include "study/runs/run_report.h"
#include "study/runs/run_tables.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using study::RunRecord;

/// What is told of runs in a terminal: their row each, and what happened.
std::string table_of(const std::vector<RunRecord>& runs,
                     const std::vector<std::string>& written) {
  FittedTable text(terminal_columns());
  // What fits beside each other on a terminal; the page has all of it.
  const auto rows = [&](const study::Table& table,
                        const std::vector<std::string>& columns) {
    std::vector<std::size_t> taken;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      const auto& name = table.columns[i].name;
      if (std::ranges::count(columns, name) > 0) taken.push_back(i);
    }
    const auto cells = [&](const auto& cell_of) {
      FittedTable::Cells row;
      for (const std::size_t i : taken) row.push_back(cell_of(i));
      return row;
    };
    std::vector<FittedTable::Cells> all;
    for (const auto& row : table.rows) {
      all.push_back(cells([&](std::size_t i) { return row[i]; }));
    }
    if (all.empty()) return;
    text.rows(cells([&](std::size_t i) { return table.columns[i].name; }), all);
  };
  rows(study::run_table(runs),
       {"run",
        "steps",
        "loss",
        "validation",
        "time",
        "a second",
        "MFU, %",
        "active, %",
        "dead"});
  rows(study::expert_table(runs),
       {runs.size() > 1 ? "run" : "",
        "layer",
        "experts",
        "active, %",
        "effective",
        "dead",
        "idle",
        "entropy, nats"});
  rows(study::event_table(runs), {"run", "step", "what", "details"});
  std::string all = text.text() + "\n\n";
  all.erase(0, all.find_first_not_of('\n'));
  for (const std::string& line : written) all += line + "\n";
  return all;
}

/// Where the page goes: what is said, or beside the one run.
fs::path page_folder(const run::CommandLine& line,
                     const std::vector<fs::path>& runs) {
  const std::string out = line.text("out", "");
  require(!line.own.contains("out") || !out.empty(),
          "--out : expected a folder behind it");
  if (!out.empty()) return out;
  require(runs.size() == 1,
          "mumoe report: --out FOLDER is missing: expected one where several "
          "runs are compared");
  return runs[0] / "report";
}

}  // namespace

std::vector<run::OwnOption> report_options() {
  return {{"run",
           "FOLDER",
           "a run directory; --run may be left out; several are compared",
           "path input folder",
           /*repeats=*/true},
          {"out",
           "FOLDER",
           "where report.html and its charts go [RUN/report, of one run]",
           "output out_dir output_dir"},
          {"json",
           "FILE",
           "where to write summaries, events, figures of experts and curves, - "
           "for stdout instead of the table",
           "out_json output_path"},
          {"tensorboard",
           "FOLDER",
           "where to write each run as event files of TensorBoard too, in a "
           "folder of its name, in place of those that are there",
           "tensorboard_dir logdir event_files"}};
}

ExitCode report_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(with_positional(invocation.arguments, "run"),
                             "",
                             report_options());
  std::vector<fs::path> folders;
  for (const std::string& folder : line.texts("run")) {
    require(!folder.empty(), "--run : expected a run directory");
    folders.emplace_back(folder);
  }
  require(!folders.empty(), "mumoe report: RUN is missing");
  const fs::path out = page_folder(line, folders);
  const std::string board = line.text("tensorboard", "");
  require(!line.own.contains("tensorboard") || !board.empty(),
          "--tensorboard : expected a folder behind it");
  const auto runs = study::read_run_records(folders);
  FactsOutput output(line);
  std::vector<std::string> written;
  for (const RunRecord& run : runs) {
    if (board.empty()) break;
    written.push_back(
        fmt::format("events   {}", study::write_events(board, run).string()));
  }
  study::write_run_report(out, runs);
  written.push_back(fmt::format("page     {}", (out / "report.html").string()));
  output.show([&] { return table_of(runs, written); },
              [&] { return study::run_json(runs); });
  return ExitCode::done;
}

}  // namespace mumoe::launch
