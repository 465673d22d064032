// mumoe study specialise --study: polysemanticity over the number of experts,
// of heads that are trained for it.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "data/features/feature_data.h"
#include "launch/fitted_table.h"
#include "launch/read_switch.h"
#include "launch/scale_call.h"
#include "launch/show_facts.h"
#include "launch/study_call.h"
#include "study/experts/specialise_runner.h"
#include "study/experts/specialise_study.h"
#include "study/report/specialise_page.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using study::SpecialiseResult;
using study::SpecialiseStudy;

constexpr const char* kCommand = "mumoe study specialise";

ScaleCall read_call(const Invocation& invocation,
                    const run::CommandLine& line) {
  require(!invocation.mpi,
          "{} --study: it starts ranks itself; expected no mpirun before it",
          kCommand);
  for (const char* name : {"run", "checkpoint", "data", "part", "gate"}) {
    require(!line.own.contains(name),
            "--{}: is of a run; expected it without --study",
            name);
  }
  const std::string file = line.text("study", "");
  require(!file.empty(), "--study : expected a file behind it");
  const bool dry = read_switch(line, "dry-run", "no");
  const std::string out = line.text("out", dry ? "FOLDER" : "");
  require(!out.empty(), "{} --study: --out FOLDER is missing", kCommand);
  return {.invocation = invocation,
          .launcher = read_launcher(line),
          .study = file,
          .out = fs::absolute(out).lexically_normal(),
          .dry = dry,
          .retry = read_switch(line, "retry", "yes"),
          .json = line.text("json", "")};
}

/// Mean and half of the interval, in two cells.
void add_figure(FittedTable::Cells& row,
                const study::SeedFigure& figure,
                double unit,
                int digits) {
  const auto mean = figure.mean();
  const auto interval = figure.interval();
  row.push_back(mean ? fmt::format("{:.{}f}", unit * *mean, digits) : "");
  row.push_back(interval
                    ? fmt::format("{:.{}f}",
                                  unit * (interval->high - interval->low) / 2,
                                  digits)
                    : "");
}

std::string table_of(const std::vector<study::HeadFigures>& heads) {
  std::vector<FittedTable::Cells> rows;
  for (const study::HeadFigures& head : heads) {
    auto& row = rows.emplace_back(
        FittedTable::Cells{head.model,
                           fmt::format("{}", head.parameters),
                           fmt::format("{}", head.accuracy.values.size())});
    add_figure(row, head.accuracy, 100, 2);
    add_figure(row, head.polysemanticity, 1, 4);
    const auto idle = head.skipped.mean();
    row.push_back(idle ? fmt::format("{:.1f}", 100 * *idle) : "");
  }
  FittedTable table(terminal_columns());
  table.rows({"head",
              "parameters",
              "seeds",
              "accuracy",
              "+-",
              "polysem.",
              "+-",
              "idle"},
             rows);
  return table.text() +
         "\n\nmeans over seeds; +-: half of the 90 % interval of the mean, by "
         "Student's\ndistribution; accuracy and idle in percent; idle: experts "
         "whose removal changes nothing\n";
}

std::string json_of(const std::vector<SpecialiseResult>& results) {
  auto lines = nlohmann::ordered_json::array();
  for (const SpecialiseResult& result : results) {
    lines.push_back(nlohmann::ordered_json::parse(study::to_json(result)));
  }
  const nlohmann::ordered_json object = {{"study", "specialise"},
                                         {"heads", lines}};
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

/// Shows what would be run, and runs nothing.
void show(const SpecialiseStudy& study, const ScaleCall& call) {
  for (const auto& cell : study.cells) {
    const study::RunPlaces places(call.out / "runs" / cell.cell.name);
    const auto words = call.launcher.words_of(study.common, cell.cell, places);
    call.tell(cell.cell.name + ": " + study::shell_text(words));
  }
  call.tell(fmt::format("study {}: {} heads; nothing was run",
                        study.common.name,
                        study.cells.size()));
}

}  // namespace

std::vector<run::OwnOption> study_specialise_heads_options() {
  return {{"study",
           "FILE",
           "instead of --run: a study of heads with different numbers of "
           "experts, which are trained and looked at",
           "config file"},
          {"out",
           "FOLDER",
           "with --study: where results.jsonl, the report and the runs are "
           "kept; one that has some of them goes on",
           "output folder"},
          {"features",
           "FOLDER",
           "with --study: of mumoe data --features [the study's]",
           "source"},
          {"retry",
           "yes|no",
           "with --study: whether heads that failed before are tried again "
           "[yes]",
           "rerun"},
          {"dry-run",
           "yes|no",
           "with --study: show the command of each head, and run nothing [no]",
           "dry_run print show"},
          {"launch",
           "FOLDER",
           "with --study: with mpirun [that of its own clone]",
           "scripts"},
          {"with",
           "WORD",
           "with --study: a further option of mpirun",
           "launcher_args mpirun_args",
           /*repeats=*/true}};
}

ExitCode study_specialise_heads(const Invocation& invocation,
                                const run::CommandLine& line) {
  const ScaleCall call = read_call(invocation, line);
  const SpecialiseStudy study = study::read_specialise_study(
      call.study,
      line.text("features", ""),
      [&](const study::StudyCell& cell) { call.check(cell); });
  const std::string& source = study.cells.front().cell.options.source;
  require(data::is_feature_folder(source),
          "{}: features {}: no features.json there; expected a folder of mumoe "
          "data --features",
          call.study.string(),
          source);
  if (call.dry) {
    show(study, call);
    return ExitCode::done;
  }
  study::SpecialiseFolder folder(call.out, study.common.text);
  FactsOutput output(call.json);  // which may be in that folder
  for (const auto& note : folder.notes()) call.tell("note     " + note);
  const auto left = study::heads_left(study, folder.results(), call.retry);
  call.tell(fmt::format("study {}: {} heads of {} parameters, {} to train",
                        study.common.name,
                        study.cells.size(),
                        study.budget,
                        left.size()));
  const auto& signals = call.invocation.signals;
  MUMOE_CHECK(signals);
  signals->saving();
  study::SpecialiseRunner runner(
      study,
      call.launcher,
      folder,
      {[&] { return signals->requested(); },
       [&](const std::string& text) { call.tell(text); }});
  const bool whole = runner.run(left);
  const auto results = study::results_of(study, folder.results());
  const auto heads = study::head_figures(results);
  if (!heads.empty()) {
    output.show([&] { return table_of(heads); },
                [&] { return json_of(results); });
    study::write_specialise_page(call.out,
                                 results,
                                 study.common.name,
                                 study.damage);
  }
  if (!whole) {
    call.tell(call.stopped_text(results.size(), study.cells.size()));
    return ExitCode::preempted;
  }
  require_all(results, &SpecialiseResult::run);
  return ExitCode::done;
}

}  // namespace mumoe::launch
