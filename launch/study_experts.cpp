#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "launch/asked_model.h"
#include "launch/expert_answer.h"
#include "launch/fitted_table.h"
#include "launch/show_facts.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "study/report/expert_json.h"
#include "study/report/expert_page.h"

namespace mumoe::launch {
namespace {

using study::ExpertLoad;
using study::ExpertStudy;
using study::GateLoad;
using study::RemovalCost;
using study::RoutingPass;
using study::RunFacts;

/// The load of a run that another is compared with.
struct OtherRun {
  RunFacts facts;
  std::vector<GateLoad> loads;
};

OtherRun ask_other(const Invocation& invocation,
                   run::CommandLine line,
                   const std::string& name,
                   double threshold) {
  line.own["run"] = name;
  line.own.erase("checkpoint");
  OtherRun other;
  ask_run(invocation, line, "mumoe study experts", true, [&](AskedRun& run) {
    const StudyData data = open_study_data(run, line);
    const RoutingPass pass(run.asked.model(),
                           {run.session.mesh, run.settled.compute.device},
                           name);
    ExpertLoad load(pass.gates(), threshold);
    pass.run(*data.samples, data.batches, [&](const auto& batch) {
      load.add(batch);
    });
    other = {expert_facts(run, name, data),
             load.finish(run.session.mesh.control(), pass.tells())};
  });
  return other;
}

std::string table_of(const ExpertStudy& study, const ExpertRequest& request) {
  FittedTable table(terminal_columns());
  table.fact("run",
             fmt::format("{}, step {}", study.facts.run, study.facts.step));
  table.fact("model", study.facts.model);
  table.fact("data",
             fmt::format("{}, {}, {} samples",
                         study.facts.data,
                         study.facts.part,
                         study.facts.samples));
  std::vector<FittedTable::Cells> rows;
  for (std::size_t g = 0; g < study.loads.size(); ++g) {
    const GateLoad& load = study.loads[g];
    const auto busiest = static_cast<std::size_t>(
        std::ranges::max_element(load.chosen) - load.chosen.begin());
    std::string worth;
    if (!study.removal.empty()) {
      const RemovalCost& cost = study.removal[g];
      worth =
          fmt::format("{:.4f}",
                      cost.with_all - *std::ranges::min_element(cost.without));
    }
    rows.push_back(
        {load.gate.name,
         study::name_of(study.units[g]),
         fmt::format("{}", load.gate.experts),
         fmt::format("{}", load.never_chosen()),
         fmt::format("{}", busiest),
         fmt::format("{:.2f} %",
                     100 * static_cast<double>(load.chosen[busiest]) /
                         static_cast<double>(load.tokens)),
         worth});
  }
  table.rows({"gate",
              "of a",
              "experts",
              "unchosen",
              "busiest",
              "chosen by",
              "dearest"},
             rows);
  std::string text =
      table.text() +
      fmt::format(
          "\n\nunchosen: no coefficient of at least {}; busiest: the "
          "expert most often chosen so, and by\nhow many; dearest: "
          "what the removal of one expert costs at most\n",
          study.threshold);
  if (!request.out.empty()) {
    text +=
        fmt::format("page: {}\n", (request.out / study::kExpertPage).string());
  }
  return text;
}

}  // namespace

std::vector<run::OwnOption> study_experts_options() {
  auto options = study_data_options();
  const std::vector<run::OwnOption> own = {
      {"threshold", "X", "an expert is chosen from this coefficient on [0.5]"},
      {"per-expert",
       "K",
       "tokens shown of an expert: the K with the largest coefficients, and K "
       "drawn among those that chose it [8]",
       "top k examples"},
      {"seed", "N", "of that draw [1]"},
      {"removal",
       "N",
       "also what the removal of each expert costs, on N samples: a pass of "
       "these for each that is used [0]"},
      {"prompt",
       "TEXT",
       "a text whose tokens are shown with the experts that worked there; "
       "several: one after the other",
       "input text",
       /*repeats=*/true},
      {"shown", "N", "so many of the samples are shown like that [4]"},
      {"other", "FOLDER", "a run to compare with", "compare against"},
      {"json",
       "FILE",
       "where to write the result, - for stdout, without the table",
       "output out_json"},
      {"out", "FOLDER", "where to write the page, experts.html", "html page"},
      {"delphi",
       "FOLDER",
       "where to write the coefficients of all tokens in the form that Delphi "
       "reads",
       "activations cache"}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

ExitCode study_experts(const Invocation& invocation,
                       const run::CommandLine& line) {
  const ExpertRequest request = read_expert_request(line);
  auto output = open_output(invocation, line);
  const std::string other = line.text("other", "");
  OtherRun compared;
  if (!other.empty()) {
    compared = ask_other(invocation, line, other, request.pick.threshold);
  }
  return ask_run(invocation,
                 line,
                 "mumoe study experts",
                 true,
                 [&](AskedRun& run) {
                   ExpertStudy study = answer_experts(run, line, request);
                   if (!other.empty()) {
                     study.other = compared.facts;
                     study.other_loads = compared.loads;
                   }
                   if (!output) return;
                   if (!request.out.empty())
                     study::write_expert_page(request.out, study);
                   output->show([&] { return table_of(study, request); },
                                [&] { return study::expert_json(study); });
                 });
}

}  // namespace mumoe::launch
