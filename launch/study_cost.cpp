// mumoe study cost: memory and latency of mixtures, factorised and not.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/number.h"
#include "launch/study_call.h"
#include "launch/study_output.h"
#include "study/experts/layer_costs.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::LayerCost;
using Kind = study::Column::Kind;
using Layers = std::vector<std::unique_ptr<study::CostedLayer>>;

study::StudyFindings findings_of(const study::CostRequest& asked,
                                 const Layers& layers,
                                 const std::vector<LayerCost>& costs) {
  study::StudyFindings findings{"What a mixture costs"};
  findings.facts = {{"layer",
                     fmt::format("{} to {}, {} experts",
                                 asked.inputs,
                                 asked.outputs,
                                 asked.experts)},
                    {"pass",
                     fmt::format("forward, {} token{} at once, fp32, {} "
                                 "threads, {} passes of each in turns",
                                 asked.tokens,
                                 asked.tokens == 1 ? "" : "s",
                                 at::get_num_threads(),
                                 asked.repeats)}};
  study::Table table{"Each layer",
                     {{"layer", Kind::words},
                      {"", Kind::words},
                      {"parameters", Kind::number},
                      {"MACs", Kind::number},
                      {"weights", Kind::number},
                      {"beside them", Kind::number},
                      {"ms", Kind::number},
                      {"middle half", Kind::number}},
                     {}};
  study::Chart chart{"Memory and latency",
                     {"MiB of weights and activations", study::Scale::log10},
                     {"ms a pass", study::Scale::log10},
                     {{"", {}}}};
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerCost& cost = costs[i];
    table.rows.push_back(
        {layers[i]->name,
         layers[i]->detail,
         fmt::format("{}", layers[i]->parameters),
         fmt::format("{}", layers[i]->macs),
         size_text(static_cast<double>(cost.weight_bytes)),
         size_text(static_cast<double>(cost.peak_bytes)),
         fmt::format("{:.4f}", cost.latency_ms),
         fmt::format("{:.4f} to {:.4f}", cost.low_ms, cost.high_ms)});
    study::Series series{layers[i]->name,
                         {static_cast<int>(i), study::Line::none}};
    series.points.push_back(
        {static_cast<double>(cost.weight_bytes + cost.peak_bytes) / (1 << 20),
         cost.latency_ms,
         cost.low_ms,
         cost.high_ms});
    chart.panels[0].series.push_back(std::move(series));
  }
  findings.tables = {std::move(table)};
  findings.charts = {
      {"cost",
       "Memory and latency",
       "Weights and what a pass holds beside them, and its time, "
       "median and middle half.",
       std::move(chart)}};
  findings.notes = {
      "Dense and sparse MoE are mixtures of matrices, all experts used or the "
      "likeliest; tr and cp have as many parameters as the linear layer, gate "
      "included, or the few more of the next rank. MACs: multiply-accumulates "
      "for one token, with the gate; beside them: the most that tensors of a "
      "pass hold, input and weights not counted."};
  return findings;
}

json json_of(const study::CostRequest& asked,
             const Layers& layers,
             const std::vector<LayerCost>& costs) {
  json all = json::array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    all.push_back(
        {{"layer", layers[i]->name},
         {"detail", layers[i]->detail},
         {"parameters", layers[i]->parameters},
         {"macs", layers[i]->macs},
         {"weight_bytes", costs[i].weight_bytes},
         {"peak_bytes", costs[i].peak_bytes},
         {"latency_ms", costs[i].latency_ms},
         {"latency_middle_half_ms", {costs[i].low_ms, costs[i].high_ms}}});
  }
  return {{"study", "cost"},
          {"inputs", asked.inputs},
          {"outputs", asked.outputs},
          {"experts", asked.experts},
          {"active", asked.active},
          {"tokens", asked.tokens},
          {"repeats", asked.repeats},
          {"threads", at::get_num_threads()},
          {"layers", all}};
}

}  // namespace

std::vector<run::OwnOption> study_cost_options() {
  std::vector<run::OwnOption> options = {
      {"inputs", "I", "of the layer [768]", "features width"},
      {"outputs", "O", "of the layer [1000]", "classes"},
      {"experts", "N", "experts [128]"},
      {"active", "K", "experts that the sparse mixture uses [2]", "top_k"},
      {"tokens", "T", "tokens at once [1]", "batch"},
      {"repeats", "N", "passes of each [100]"}};
  const auto output = study_output_options();
  options.insert(options.end(), output.begin(), output.end());
  return options;
}

ExitCode study_cost(const Invocation& invocation,
                    const run::CommandLine& line) {
  study::CostRequest asked;
  const auto read = [&](const char* name, std::int64_t& value) {
    value = line.number<std::int64_t>(name, value, 1, std::int64_t{1} << 20);
  };
  read("inputs", asked.inputs);
  read("outputs", asked.outputs);
  read("experts", asked.experts);
  read("active", asked.active);
  read("tokens", asked.tokens);
  asked.repeats = line.number("repeats", asked.repeats, 1, 1000000);
  FindingsOutput output(invocation, line);
  // Other ranks would be in the way of what is measured.
  if (!output) return ExitCode::done;
  const Layers layers = study::costed_layers(asked);
  const auto costs = study::measure_layers(layers, asked);
  output.show(findings_of(asked, layers, costs), json_of(asked, layers, costs));
  return ExitCode::done;
}

}  // namespace mumoe::launch
