// mumoe scale of a loss study.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "launch/loss_table.h"
#include "launch/scale_call.h"
#include "launch/show_facts.h"
#include "study/loss/loss_runner.h"
#include "study/loss/loss_study.h"
#include "study/report/loss_report.h"

namespace mumoe::launch {
namespace {

using study::LossResult;
using study::LossRun;
using study::LossStudy;

/// Shows what would be run, and runs nothing.
void show(const LossStudy& study, const ScaleCall& call) {
  for (const LossRun& run : study.runs) {
    const auto words =
        call.launcher.words_of(study.common,
                               study::started_cell(study, run, call.out),
                               study::places_of(run, call.out));
    call.tell(run.cell.name + ": " + study::shell_text(words));
  }
}

/// What the study is, and how much it costs: a line, and one for each model.
void tell_study(const LossStudy& study,
                std::size_t left,
                const ScaleCall& call) {
  call.tell(fmt::format(
      "study {}: {} models x {} budgets x {} seeds, {} runs, {} to run",
      study.common.name,
      study.models.size(),
      study.budgets.size(),
      study.seeds.size(),
      study.runs.size(),
      left));
  for (const auto& [name, model] : study.models) {
    std::int64_t longest = 0;
    for (const LossRun& run : study.runs) {
      if (run.cell.model == name) longest = std::max(longest, run.last_step);
    }
    call.tell(
        fmt::format("{}: {} parameters and {} of embeddings, {:.3g} FLOPs per "
                    "{}; {} {}s at "
                    "the longest, {:.2f} times that for all its budgets",
                    name,
                    model.counts.parameters - model.counts.embeddings,
                    model.counts.embeddings,
                    model.counts.flops_per_target,
                    model.target,
                    longest * model.step_targets,
                    model.target,
                    study.cost_ratio(name)));
  }
}

std::vector<LossResult> results_of(const LossStudy& study,
                                   const study::LossFolder& folder) {
  std::vector<LossResult> results;
  for (const auto& [index, result] :
       study::known_losses(study, folder.results())) {
    results.push_back(*result);
  }
  return results;
}

void write_results(const LossStudy& study,
                   const std::vector<LossResult>& results,
                   const ScaleCall& call,
                   FactsOutput& output) {
  const auto points = study::loss_points(results);
  const bool any = std::ranges::any_of(points, &study::LossPoint::has_loss);
  output.show(
      [&] {
        const std::string table = loss_table(results, terminal_columns());
        return any ? table + "\n" + study::loss_text(points, study.draws)
                   : table;
      },
      [&] { return loss_table_json(results); });
  if (!any) return;
  study::write_loss_report(call.out, points, study.common.name, study.draws);
}

}  // namespace

ExitCode scale_loss(const ScaleCall& call) {
  const LossStudy study = study::read_loss_study(
      call.study,
      [&](const study::StudyCell& cell) { call.check(cell); });
  if (call.dry) {
    show(study, call);
    tell_study(study, study.runs.size(), call);
    call.tell("nothing was run");
    return ExitCode::done;
  }
  study::LossFolder folder(call.out, study.common.text);
  FactsOutput output(call.json);  // which may be in that folder
  for (const auto& note : folder.notes()) call.tell("note     " + note);
  const auto left =
      study::losses_left(study, folder.results(), folder.path(), call.retry);
  tell_study(study, left.size(), call);
  const auto& signals = call.invocation.signals;
  MUMOE_CHECK(signals);
  signals->saving();
  study::LossRunner runner(study,
                           call.launcher,
                           folder,
                           {[&] { return signals->requested(); },
                            [&](const std::string& text) { call.tell(text); }});
  const bool whole = runner.run(left);
  const auto results = results_of(study, folder);
  write_results(study, results, call, output);
  if (!whole) {
    call.tell(call.stopped_text(results.size(), study.runs.size()));
    return ExitCode::preempted;
  }
  require_all(results, &LossResult::run);
  return ExitCode::done;
}

}  // namespace mumoe::launch
