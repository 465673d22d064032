// mumoe study specialise: what a run's experts are for.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "launch/asked_model.h"
#include "launch/read_switch.h"
#include "launch/show_facts.h"
#include "launch/specialise_report.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "model/families.h"
#include "study/experts/expert_parts.h"
#include "study/experts/focus.h"
#include "study/experts/removal.h"
#include "study/experts/routing.h"

namespace mumoe::launch {
namespace {

constexpr const char* kCommand = "mumoe study specialise";
/// Samples, unless it is said how many, where each expert takes a pass.
constexpr const char* kSamplesOfPasses = "256";

/// The places of the gates that --gate names; all of them without it.
std::vector<std::size_t> chosen_gates(const run::CommandLine& line,
                                      std::span<const study::Gate> gates) {
  const std::string name = line.text("gate", "all");
  std::vector<std::size_t> chosen;
  std::vector<std::string> names;
  for (std::size_t g = 0; g < gates.size(); ++g) {
    names.push_back(gates[g].name);
    if (name == "all" || gates[g].name == name) chosen.push_back(g);
  }
  require(!chosen.empty(),
          "--gate {}: expected all, or one of {}",
          name,
          fmt::join(names, ", "));
  return chosen;
}

/// Differences between logits tell a removal in one pass apart from as many
/// evaluations by rounding alone, which fp64 keeps away from all but ties.
void widen(run::Options& options) {
  const bool of_logits = model::family(options.family).learns_from ==
                             model::LearnsFrom::features ||
                         (options.family == "vit" &&
                          options.model.head == model::HeadKind::mixture);
  if (of_logits) options.precision = run::Precision::fp64;
}

}  // namespace

std::vector<run::OwnOption> study_specialise_options() {
  auto options = study_data_options();
  const auto samples =
      std::ranges::find(options, "samples", &run::OwnOption::name);
  MUMOE_CHECK(samples != options.end(), "no option samples");
  samples->help =
      "windows of the text, or images, spread evenly; all: every one [all; "
      "256 where each expert takes a pass]";
  options.push_back({"gate",
                     "NAME",
                     "of which experts are removed, as mumoe study load names "
                     "them [all]",
                     "layer mixture"});
  options.push_back(
      {"damage",
       "KIND",
       "change: that a class does better without an expert counts "
       "as well; drop: it does not [change]",
       "difference"});
  options.push_back({"check",
                     "yes|no",
                     "whether what one pass says of a head's experts is "
                     "compared with as many evaluations as experts [no]",
                     "verify"});
  options.push_back({"json",
                     "FILE",
                     "where to write the result, - for stdout, without the "
                     "table",
                     "output out_json"});
  for (auto& option : study_specialise_heads_options()) {
    options.push_back(std::move(option));
  }
  return options;
}

ExitCode study_specialise(const Invocation& invocation,
                          const run::CommandLine& line) {
  if (line.own.contains("study")) {
    return study_specialise_heads(invocation, line);
  }
  const std::string kind = line.text("damage", "change");
  const study::Damage damage = study::damage_named(kind);
  const study::RemovalOptions options{.check =
                                          read_switch(line, "check", "no")};
  auto output = open_output(invocation, line);
  const auto ask = [&](AskedRun& run) {
    const std::string name = line.text("run", "");
    dist::ProcessMesh& mesh = run.session.mesh;
    model::Model& model = run.asked.model();
    const study::RoutingPass pass(model,
                                  {mesh, run.settled.compute.device},
                                  name);
    const auto gates = chosen_gates(line, pass.gates());
    run::CommandLine of_data = line;
    if (!study::logit_mixture(model)) {
      of_data.own.try_emplace("samples", kSamplesOfPasses);
    }
    const StudyData data = open_study_data(run, of_data);
    SpecialiseReport report{
        .run = name,
        .checkpoint = run.opened.checkpoint.string(),
        .step = run.asked.step(),
        .model = model.describe(),
        .text = model::family(run.settled.options.family).learns_from ==
                model::LearnsFrom::tokens,
        .precision = run::to_map(run.settled.options).at("train.precision"),
        .damage = kind,
        .checked = options.check,
        .data = data,
        .gates = {}};
    for (const std::size_t gate : gates) {
      study::Removal removal = study::remove_each(model,
                                                  pass,
                                                  gate,
                                                  *data.samples,
                                                  data.batches,
                                                  mesh.control(),
                                                  options);
      auto found = study::specialisation(removal.scores, damage);
      report.gates.push_back({std::move(removal), std::move(found)});
    }
    if (!output) return;
    output->show([&] { return specialise_table(report, terminal_columns()); },
                 [&] { return specialise_json(report); });
  };
  return ask_run(invocation, line, kCommand, true, ask, widen);
}

}  // namespace mumoe::launch
