#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "dist/null_communicator.h"
#include "dist/process_mesh.h"
#include "launch/commands.h"
#include "launch/plan_choice.h"
#include "launch/positional.h"
#include "launch/read_switch.h"
#include "launch/scale_call.h"
#include "launch/scale_predict.h"
#include "launch/scale_table.h"
#include "launch/show_facts.h"
#include "run/command_line.h"
#include "study/loss/loss_study.h"
#include "study/report/scale_cells.h"
#include "study/report/scale_report.h"
#include "study/scale/launcher.h"
#include "study/scale/results_file.h"
#include "study/scale/scale_runner.h"
#include "study/scale/scale_study.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using study::Launcher;
using study::ScaleCell;
using study::ScaleStudy;
using study::StudyCell;

constexpr int kMostRanks = 65'536;
constexpr int kMostMinutes = 1'000'000;

void say(const std::string& text) {
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

/// Shows what would be run, and runs nothing.
void show(const ScaleStudy& study, const ScaleCall& call) {
  for (const StudyCell& cell : study.cells) {
    const study::RunPlaces places(call.out / "cells" / cell.name / "0");
    say(cell.name + ": " +
        study::shell_text(call.launcher.words_of(study, cell, places)));
  }
  say(fmt::format("study {}: {} cells x {} repeats; nothing was run",
                  study.name,
                  study.cells.size(),
                  study.repeats));
}

void write_results(const ScaleStudy& study,
                   const study::StudyFolder& folder,
                   FactsOutput& output) {
  const auto results = study::results_of(study, folder.results());
  const auto cells = study::cells_of(results);
  if (cells.empty()) return;
  output.show([&] { return scale_table(cells, terminal_columns()); },
              [&] { return scale_json(cells); });
  study::write_scale_report(folder.path(), results, study.name);
}

/// mumoe scale of a scaling study.
ExitCode measure(const ScaleCall& call) {
  const ScaleStudy study =
      study::read_study(call.study,
                        [&](const StudyCell& cell) { call.check(cell); });
  if (call.dry) {
    show(study, call);
    return ExitCode::done;
  }
  study::StudyFolder folder(call.out, study.text);
  FactsOutput output(call.json);  // which may be in that folder
  const auto tell = [&](const std::string& text) { call.tell(text); };
  for (const auto& note : folder.notes()) tell("note     " + note);
  const auto left = study::runs_left(study, folder.results(), call.retry);
  const auto all = study.cells.size() * static_cast<std::size_t>(study.repeats);
  tell(fmt::format("study {}: {} cells x {} repeats, {} runs, {} to measure",
                   study.name,
                   study.cells.size(),
                   study.repeats,
                   all,
                   left.size()));
  const auto& signals = call.invocation.signals;
  MUMOE_CHECK(signals);
  signals->saving();
  study::ScaleRunner runner(study,
                            call.launcher,
                            folder,
                            {[&] { return signals->requested(); },
                             tell,
                             predictions_from(call.predict)});
  const bool whole = runner.measure(left);
  write_results(study, folder, output);
  const auto results = study::results_of(study, folder.results());
  if (!whole) {
    tell(call.stopped_text(results.size(), all));
    return ExitCode::preempted;
  }
  require_all(results, &study::ScaleResult::cell);
  return ExitCode::done;
}

}  // namespace

Launcher read_launcher(const run::CommandLine& line) {
  Launcher launcher;
  const std::string runner = line.text("runner", "mpirun");
  require(runner == "mpirun" || runner == "slurm",
          "--runner {}: expected mpirun or slurm",
          runner);
  if (runner == "slurm") launcher.kind = Launcher::Kind::slurm;
  launcher.program = fs::read_symlink("/proc/self/exe");
  launcher.scripts = !line.text("launch", "").empty()
                         ? fs::absolute(line.text("launch", ""))
                         : study::scripts_above(launcher.program);
  const auto script =
      launcher.scripts / (runner == "slurm" ? "slurm.sbatch" : "mpirun");
  require(fs::is_regular_file(script),
          "--launch {}: {} is not there; expected the folder launch of a clone",
          launcher.scripts.string(),
          script.filename().string());
  launcher.ranks_per_node =
      line.number<int>("ranks-per-node", 0, 1, kMostRanks);
  launcher.words = line.texts("with");
  launcher.queue = std::chrono::minutes(
      line.number<int>("queue-minutes",
                       static_cast<int>(launcher.queue.count()),
                       1,
                       kMostMinutes));
  return launcher;
}

void ScaleCall::tell(const std::string& text) const {
  if (json == "-") {
    fmt::print(stderr, "{}\n", text);
  } else {
    say(text);
  }
}

void ScaleCall::check(const StudyCell& cell) const {
  const auto world =
      dist::make_null_communicator({.dp = cell.dp, .tp = cell.tp});
  const dist::ProcessMesh mesh(*world, cell.dp, cell.tp);
  require_layout(cell.options, mesh, /*unequal_cpus=*/"");
  launcher.require_nodes(cell);
}

std::string ScaleCall::stopped_text(std::size_t there, std::size_t all) const {
  return fmt::format(
      "stopped by a signal: {} of {} runs are in {}; the same command goes on",
      there,
      all,
      out.string());
}

Error failures(std::size_t failed,
               std::size_t all,
               const std::string& name,
               int code,
               const std::string& why) {
  ExitCode ended = ExitCode::internal;
  for (const auto known :
       {ExitCode::bad_input, ExitCode::non_finite, ExitCode::communication}) {
    if (code == static_cast<int>(known)) ended = known;
  }
  return {ended,
          one_line(fmt::format("{} of {} runs failed, first {}: {}",
                               failed,
                               all,
                               name,
                               why))};
}

std::vector<run::OwnOption> scale_options() {
  return {
      {"study",
       "FILE",
       "what to measure; --study may be left out",
       "config file input path"},
      {"out",
       "FOLDER",
       "where results.jsonl, the report and the runs are kept; one that has "
       "some of them goes on",
       "output out_dir output_dir folder run_dir"},
      {"runner",
       "mpirun|slurm",
       "who starts a run: launch/mpirun here, or launch/slurm.sbatch as a "
       "job, which is waited for [mpirun]",
       "launcher scheduler"},
      {"retry",
       "yes|no",
       "whether runs that failed before are tried again, once a start [yes]",
       "rerun"},
      {"dry-run",
       "yes|no",
       "show the command of each cell, and run nothing [no]",
       "dry_run print show"},
      {"json",
       "FILE",
       "where to write the table with all digits, - for stdout instead of "
       "it",
       "out_json output_path"},
      {"launch",
       "FOLDER",
       "with mpirun and slurm.sbatch [that of its own clone]",
       "scripts"},
      {"ranks-per-node",
       "N",
       "of Slurm's nodes [all ranks on one]",
       "ntasks_per_node gpus_per_node"},
      {"queue-minutes",
       "N",
       "what a job of Slurm may take with its time in the queue [1440]",
       "wait timeout"},
      {"predict",
       "FOLDER",
       "a study that was measured on this machine, by whose rates each result "
       "and the report say what was to be expected; may stand there several "
       "times",
       "expect",
       /*repeats=*/true},
      {"with",
       "WORD",
       "a further option of mpirun or sbatch, such as --partition=gpu",
       "launcher_args sbatch_args mpirun_args",
       /*repeats=*/true}};
}

ExitCode scale_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(with_positional(invocation.arguments, "study"),
                             "",
                             scale_options());
  require(!invocation.mpi,
          "mumoe scale: it starts ranks itself; expected no mpirun before it");
  const std::string file = line.text("study", "");
  require(!file.empty(), "mumoe scale: STUDY.json is missing");
  const bool dry = read_switch(line, "dry-run", "no");
  const bool retry = read_switch(line, "retry", "yes");
  const std::string out = line.text("out", dry ? "FOLDER" : "");
  require(!out.empty(), "mumoe scale: --out FOLDER is missing");
  const ScaleCall call{.invocation = invocation,
                       .launcher = read_launcher(line),
                       .study = file,
                       .out = fs::absolute(out).lexically_normal(),
                       .dry = dry,
                       .retry = retry,
                       .json = line.text("json", ""),
                       .predict = line.texts("predict")};
  return study::is_loss_study(file) ? scale_loss(call) : measure(call);
}

}  // namespace mumoe::launch
