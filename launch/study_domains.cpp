// mumoe study domains: what experts know of the source of a text.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/mixture.h"
#include "data/order.h"
#include "data/text/sources.h"
#include "launch/asked_model.h"
#include "launch/domains_report.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "launch/study_output.h"
#include "run/option_table.h"
#include "study/experts/domain_information.h"
#include "study/experts/hidden_units.h"
#include "study/experts/linear_probe.h"
#include "study/experts/mean_routing.h"

namespace mumoe::launch {
namespace {

using study::LabelledRows;
using study::MeanRouting;

constexpr const char* kCommand = "mumoe study domains";
constexpr std::int64_t kWindowsOfASource = 128;
constexpr std::int64_t kFewestOfASource = 8;

/// The windows of a mixture of texts, as many of each source.
struct SourceWindows {
  std::vector<std::string> sources;
  std::vector<std::uint64_t> indices;
  std::vector<std::size_t> labels;
};

/// Where the windows of each source end among all.
std::vector<std::uint64_t> ends_of(const data::MixedSamples& samples,
                                   std::size_t sources) {
  std::vector<std::uint64_t> ends(sources, samples.size());
  for (std::size_t s = 0; s + 1 < sources; ++s) {
    std::uint64_t low = 0, high = samples.size();
    while (low < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      const bool before = samples.source_of(middle).source <= s;
      (before ? low : high) = before ? middle + 1 : middle;
    }
    ends[s] = low;
  }
  return ends;
}

SourceWindows windows_of(const StudyData& data,
                         const run::CommandLine& line,
                         const std::string& source) {
  const auto* mixed =
      dynamic_cast<const data::MixedSamples*>(data.samples.get());
  require(mixed != nullptr,
          "{}: data.source = {} is one source; expected a mixture of texts, "
          "such as --data speeches=0.5,novels=0.5",
          kCommand,
          source);
  SourceWindows windows;
  for (const auto& part : data::parse_sources(source)) {
    windows.sources.push_back(part.source);
  }
  const auto count = std::ssize(windows.sources);
  const std::int64_t asked =
      line.text("samples", "") == "all"
          ? static_cast<std::int64_t>(mixed->size()) * count
          : line.number("samples", kWindowsOfASource * count, count);
  std::uint64_t begin = 0;
  const auto ends = ends_of(*mixed, windows.sources.size());
  for (std::size_t s = 0; s < ends.size(); ++s) {
    const std::uint64_t size = ends[s] - begin;
    const auto wanted = static_cast<std::int64_t>(
        std::min(size, static_cast<std::uint64_t>(asked / count)));
    require(wanted >= kFewestOfASource,
            "--samples: {} windows of source {}; expected {} or more of each",
            wanted,
            windows.sources[s],
            kFewestOfASource);
    for (const auto item : data::evaluation_samples(size, wanted)) {
      windows.indices.push_back(begin + item);
      windows.labels.push_back(s);
    }
    begin = ends[s];
  }
  return windows;
}

LabelledRows rows_of(const MeanRouting& routing, const SourceWindows& windows) {
  return {.width = routing.width,
          .values = routing.means,
          .label = windows.labels,
          .labels = windows.sources.size()};
}

/// What is asked, beside the run.
struct Asked {
  int draws;
  double l2;
};

/// Of each gate and of all together; on rank 0.
void fill(DomainsReport& report,
          const MeanRouting& routing,
          const SourceWindows& windows,
          const Asked& asked) {
  const LabelledRows rows = rows_of(routing, windows);
  report.chance = study::chance_of(rows);
  for (std::size_t g = 0; g < routing.gates.size(); ++g) {
    const LabelledRows part = rows.part(routing.begin(g), routing.count(g));
    report.gates.push_back({routing.gates[g].name,
                            routing.gates[g].experts,
                            study::domain_information(part, asked.draws),
                            study::probe(part, asked.l2)});
  }
  report.all = study::probe(rows, asked.l2);
}

/// As many hidden units of each dense MLP as the gate in its place has experts:
/// those whose means vary most over what is learnt from.
void fill_dense(DomainsReport& report,
                const MeanRouting& units,
                const std::vector<study::Gate>& gates,
                const SourceWindows& windows,
                const Asked& asked) {
  const LabelledRows rows = rows_of(units, windows);
  const auto train = study::halves_of(rows).train;
  std::vector<std::size_t> all;
  for (std::size_t m = 0; m < units.gates.size(); ++m) {
    std::size_t candidates = 0;
    for (const study::Gate& gate : gates) {
      if (gate.mixture == m) candidates += gate.experts;
    }
    const LabelledRows part = rows.part(units.begin(m), units.count(m));
    const auto best = study::most_varying(part, train, candidates);
    for (const std::size_t unit : best) all.push_back(units.begin(m) + unit);
    report.dense.push_back({units.gates[m].name,
                            units.gates[m].experts,
                            study::probe(part.part(best), asked.l2)});
  }
  report.dense_all = study::probe(rows.part(all), asked.l2);
}

/// The dense twin, by the windows of the run. Collective.
void ask_dense(const Invocation& invocation,
               const run::CommandLine& line,
               const std::string& source,
               const SourceWindows& windows,
               const Asked& asked,
               const std::vector<study::Gate>& gates,
               DomainsReport& report) {
  const std::string name = line.text("dense", "");
  if (name.empty()) return;
  run::CommandLine other = line;
  other.own["run"] = name;
  other.own["data"] = source;
  other.own.erase("checkpoint");
  ask_run(invocation, other, kCommand, true, [&](AskedRun& run) {
    StudyData data = open_study_data(run, other);
    dist::ProcessMesh& mesh = run.session.mesh;
    require(windows_of(data, other, source).indices == windows.indices,
            "--dense {}: its windows are others; expected the context and the "
            "tokenizer of the run",
            name);
    const auto units = study::mean_hidden_units(
        run.asked.model(),
        {mesh, run.settled.compute.device},
        *data.samples,
        train::in_batches(windows.indices, data.per_batch),
        "--dense " + name);
    std::size_t mixtures = 0;
    for (const auto& gate : gates) {
      mixtures = std::max(mixtures, gate.mixture + 1);
    }
    require(units.gates.size() == mixtures,
            "--dense {}: {} dense MLPs; expected one for each of {} mixtures",
            name,
            units.gates.size(),
            mixtures);
    report.dense_run = name;
    report.dense_model = run.asked.model().describe();
    if (mesh.control().rank() != 0) return;
    fill_dense(report, units, gates, windows, asked);
  });
}

}  // namespace

std::vector<run::OwnOption> study_domains_options() {
  auto options = study_data_options();
  for (run::OwnOption& option : options) {
    if (option.name == "samples") {
      option.help =
          "windows, as many of each source, spread evenly over it; all: all "
          "there are [128 a source]";
    }
  }
  const std::vector<run::OwnOption> own = {
      {"dense",
       "FOLDER",
       "a run with dense MLPs on the same data, to compare with at as many "
       "candidates"},
      {"draws",
       "N",
       "draws for intervals and for labels dealt by chance [200]",
       "bootstrap permutations"},
      {"l2", "X", "of the linear classifier's weights [0.01]", "ridge lambda"}};
  options.insert(options.end(), own.begin(), own.end());
  const auto output = study_output_options();
  options.insert(options.end(), output.begin(), output.end());
  return options;
}

ExitCode study_domains(const Invocation& invocation,
                       const run::CommandLine& line) {
  const Asked asked{line.number("draws", 200, 20, 100000),
                    line.number("l2", 0.01, 1e-6, 1e6)};
  FindingsOutput output(invocation, line);
  DomainsReport report;
  SourceWindows windows;
  std::vector<study::Gate> gates;
  std::string source;
  const auto ask = [&](AskedRun& run) {
    report = {};
    const std::string name = line.text("run", "");
    dist::ProcessMesh& mesh = run.session.mesh;
    const study::RoutingPass pass(run.asked.model(),
                                  {mesh, run.settled.compute.device},
                                  name);
    source = line.text("data", run.opened.options.source);
    run::CommandLine all = line;
    all.own.erase("samples");
    const StudyData data = open_study_data(run, all);
    windows = windows_of(data, line, source);
    const auto routing =
        study::mean_routing(pass,
                            *data.samples,
                            train::in_batches(windows.indices, data.per_batch),
                            mesh.control());
    gates = routing.gates;
    report.run = name;
    report.checkpoint = run.opened.checkpoint.string();
    report.step = run.asked.step();
    report.model = run.asked.model().describe();
    report.data = source;
    report.part = data.part;
    report.sources = windows.sources;
    report.windows = windows.indices.size();
    if (output) fill(report, routing, windows, asked);
  };
  const ExitCode code = ask_run(invocation, line, kCommand, true, ask);
  ask_dense(invocation, line, source, windows, asked, gates, report);
  if (output) output.show(domains_findings(report), domains_json(report));
  return code;
}

}  // namespace mumoe::launch
