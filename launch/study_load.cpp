#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/terminal.h"
#include "launch/asked_model.h"
#include "launch/fitted_table.h"
#include "launch/show_facts.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "study/experts/expert_load.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::GateLoad;

/// What was looked at, and what was found.
struct LoadReport {
  std::string run;
  std::string checkpoint;
  std::int64_t step;
  std::string model;
  const StudyData& data;
  double threshold;
  std::vector<GateLoad> loads;
};

std::string table_of(const LoadReport& report) {
  FittedTable table(terminal_columns());
  table.fact("run", fmt::format("{}, step {}", report.run, report.step));
  table.fact("model", report.model);
  table.fact("data",
             fmt::format("{}, {}, {} samples",
                         report.data.facts.source,
                         report.data.part,
                         report.data.indices.size()));
  std::vector<FittedTable::Cells> rows;
  for (const GateLoad& load : report.loads) {
    rows.push_back({load.gate.name,
                    fmt::format("{}", load.gate.experts),
                    fmt::format("{:.2f} %", 100 * load.active_share()),
                    fmt::format("{}", load.dead()),
                    fmt::format("{}", load.never_chosen()),
                    fmt::format("{:.3f}", load.token_entropy),
                    fmt::format("{:.1f}", load.effective_experts())});
  }
  table.rows(
      {"gate", "experts", "active", "dead", "unchosen", "nats", "effective"},
      rows);
  return table.text() +
         fmt::format(
             "\n\nactive: share of the experts with a coefficient above 0, "
             "mean "
             "over tokens; dead:\nno token has one; unchosen: none of at least "
             "{}; nats: entropy of a token's\ncoefficients, mean; effective: "
             "exp of the entropy of the mean coefficients\n",
             report.threshold);
}

std::string json_of(const LoadReport& report) {
  json gates = json::array();
  for (const GateLoad& load : report.loads) {
    gates.push_back({{"gate", load.gate.name},
                     {"experts", load.gate.experts},
                     {"tokens", load.tokens},
                     {"samples", load.samples},
                     {"active_share", load.active_share()},
                     {"dead", load.dead()},
                     {"never_chosen", load.never_chosen()},
                     {"token_entropy_nats", load.token_entropy},
                     {"load_entropy_nats", load.load_entropy()},
                     {"effective_experts", load.effective_experts()},
                     {"active_tokens", load.active},
                     {"chosen_tokens", load.chosen},
                     {"chosen_samples", load.chosen_samples},
                     {"mean_coefficient", load.mean}});
  }
  const json object = {{"study", "load"},
                       {"run", report.run},
                       {"checkpoint", report.checkpoint},
                       {"step", report.step},
                       {"model", report.model},
                       {"data", report.data.facts.source},
                       {"part", report.data.part},
                       {"threshold", report.threshold},
                       {"gates", gates}};
  return to_text(object, 2) + "\n";
}

}  // namespace

std::vector<run::OwnOption> study_load_options() {
  auto options = study_data_options();
  options.push_back(
      {"threshold", "X", "an expert is chosen from this coefficient on [0.5]"});
  options.push_back(
      {"json",
       "FILE",
       "where to write the result, - for stdout, without the table",
       "output out_json"});
  return options;
}

ExitCode study_load(const Invocation& invocation,
                    const run::CommandLine& line) {
  auto output = open_output(invocation, line);
  const auto ask = [&](AskedRun& run) {
    const std::string name = line.text("run", "");
    dist::ProcessMesh& mesh = run.session.mesh;
    const StudyData data = open_study_data(run, line);
    const study::RoutingPass pass(run.asked.model(),
                                  {mesh, run.settled.compute.device},
                                  name);
    const double threshold = line.number("threshold", 0.5);
    study::ExpertLoad load(pass.gates(), threshold);
    pass.run(*data.samples, data.batches, [&](const auto& batch) {
      load.add(batch);
    });
    const LoadReport report{name,
                            run.opened.checkpoint.string(),
                            run.asked.step(),
                            run.asked.model().describe(),
                            data,
                            threshold,
                            load.finish(mesh.control(), pass.tells())};
    if (!output) return;
    output->show([&] { return table_of(report); },
                 [&] { return json_of(report); });
  };
  return ask_run(invocation, line, "mumoe study load", true, ask);
}

}  // namespace mumoe::launch
