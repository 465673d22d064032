// mumoe study ranks: parameters, ranks and multiplications against experts.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "launch/study_call.h"
#include "launch/study_output.h"
#include "mumoe/rank_matching.h"
#include "run/option_table.h"
#include "study/experts/rank_sweep.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::SweptCount;
using study::SweptLayer;
using Kind = study::Column::Kind;

constexpr const char* kExperts = "16,32,64,128,256,512,768,960";
constexpr std::int64_t kMostDim = std::int64_t{1} << 24;

/// What was asked.
struct Sweep {
  std::int64_t inputs, outputs, budget;
  std::vector<SweptCount> counts;
};

study::Table table_of(const std::string& caption,
                      const Sweep& sweep,
                      const SweptLayer SweptCount::*cp,
                      const SweptLayer SweptCount::*ring) {
  study::Table table{caption,
                     {{"N", Kind::number},
                      {"CP R", Kind::number},
                      {"rank", Kind::number},
                      {"parameters", Kind::number},
                      {"MACs", Kind::number},
                      {"TR r3", Kind::number},
                      {"rank", Kind::number},
                      {"parameters", Kind::number},
                      {"MACs", Kind::number}},
                     {}};
  for (const SweptCount& count : sweep.counts) {
    std::vector<std::string> row = {fmt::format("{}", count.experts)};
    for (const auto* layer : {&(count.*cp), &(count.*ring)}) {
      for (const std::int64_t each : {layer->ranks.back(),
                                      layer->matrix_rank,
                                      layer->parameters,
                                      layer->macs}) {
        row.push_back(fmt::format("{}", each));
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

study::Table dense_table(const Sweep& sweep) {
  study::Table table{"Experts that are matrices of their own, all of them used",
                     {{"N", Kind::number},
                      {"parameters", Kind::number},
                      {"MACs", Kind::number}},
                     {}};
  for (const SweptCount& count : sweep.counts) {
    table.rows.push_back({fmt::format("{}", count.experts),
                          fmt::format("{}", count.dense_parameters),
                          fmt::format("{}", count.dense_macs)});
  }
  return table;
}

using Figure = std::function<std::int64_t(const SweptCount&)>;

study::Series series_of(const Sweep& sweep,
                        const std::string& name,
                        int number,
                        study::Line line,
                        const Figure& figure) {
  study::Series series{name, {number, line}};
  for (const SweptCount& count : sweep.counts) {
    series.points.push_back({static_cast<double>(count.experts),
                             static_cast<double>(figure(count))});
  }
  return series;
}

/// A chart of one figure of each kind of layer over N; `dense`: of matrices.
study::NamedChart chart_of(const Sweep& sweep,
                           const char* name,
                           const char* caption,
                           const char* label,
                           std::int64_t SweptLayer::*figure,
                           std::int64_t SweptCount::*dense) {
  using study::Line;
  std::vector<study::Series> all = {
      series_of(sweep,
                "CP, matched",
                0,
                Line::solid,
                [&](auto& count) { return count.cp.*figure; }),
      series_of(sweep,
                "TR, matched",
                1,
                Line::solid,
                [&](auto& count) { return count.ring.*figure; }),
      series_of(sweep,
                "CP, whole rank",
                0,
                Line::dashed,
                [&](auto& count) { return count.whole_cp.*figure; }),
      series_of(sweep, "TR, whole rank", 1, Line::dashed, [&](auto& count) {
        return count.whole_ring.*figure;
      })};
  if (dense != nullptr) {
    all.push_back(
        series_of(sweep, "matrices", 2, Line::dotted, [&](auto& count) {
          return count.*dense;
        }));
  }
  return {name,
          "Against the number of experts",
          caption,
          {label,
           {"experts", study::Scale::log2},
           {label, dense ? study::Scale::log10 : study::Scale::linear, !dense},
           {{"", std::move(all)}}}};
}

study::StudyFindings findings_of(const Sweep& sweep) {
  study::StudyFindings findings{"Ranks, parameters and experts"};
  findings.facts = {
      {"layer",
       fmt::format("{} to {}, with biases", sweep.inputs, sweep.outputs)},
      {"budget", fmt::format("{} parameters, gate included", sweep.budget)}};
  findings.tables = {table_of("As many parameters as the budget",
                              sweep,
                              &SweptCount::cp,
                              &SweptCount::ring),
                     table_of("Experts that may have any rank",
                              sweep,
                              &SweptCount::whole_cp,
                              &SweptCount::whole_ring),
                     dense_table(sweep)};
  findings.notes = {
      "rank: the largest that an expert's matrix can have; parameters with the "
      "gate; MACs: multiply-accumulates for one token, without it, the "
      "experts' "
      "matrices never formed. TR has r1 = r2 = 4. Matched: the smallest rank "
      "that reaches the budget, as the authors choose it for heads. Whole "
      "rank: "
      "ranks that let an expert be any matrix, CP with R = min(I, O), TR with "
      "r3 a quarter of that: one more expert is R parameters there, and 16 "
      "here, beside its gate."};
  findings.charts = {
      chart_of(sweep,
               "rank",
               "What rank is left to an expert at a budget, and what it takes "
               "to leave it whole.",
               "rank of an expert's matrix",
               &SweptLayer::matrix_rank,
               nullptr),
      chart_of(sweep,
               "parameters",
               "Parameters with the gate.",
               "parameters",
               &SweptLayer::parameters,
               &SweptCount::dense_parameters),
      chart_of(sweep,
               "macs",
               "Multiply-accumulates for one token, without the gate; of "
               "matrices, the sum of all experts'.",
               "MACs a token",
               &SweptLayer::macs,
               &SweptCount::dense_macs)};
  return findings;
}

json to_json(const SweptLayer& layer) {
  return {{"ranks", layer.ranks},
          {"matrix_rank", layer.matrix_rank},
          {"parameters", layer.parameters},
          {"macs", layer.macs}};
}

json json_of(const Sweep& sweep) {
  json counts = json::array();
  for (const SweptCount& count : sweep.counts) {
    counts.push_back({{"experts", count.experts},
                      {"cp", to_json(count.cp)},
                      {"tr", to_json(count.ring)},
                      {"cp_whole_rank", to_json(count.whole_cp)},
                      {"tr_whole_rank", to_json(count.whole_ring)},
                      {"dense_parameters", count.dense_parameters},
                      {"dense_macs", count.dense_macs}});
  }
  return {{"study", "ranks"},
          {"inputs", sweep.inputs},
          {"outputs", sweep.outputs},
          {"budget", sweep.budget},
          {"counts", counts}};
}

}  // namespace

std::vector<run::OwnOption> study_ranks_options() {
  std::vector<run::OwnOption> options = {
      {"inputs", "I", "of the layer [768]", "features width"},
      {"outputs", "O", "of the layer [1000]", "classes"},
      {"experts",
       "N,...",
       std::string("numbers of experts [") + kExperts + "]"},
      {"budget",
       "P",
       "parameters, gate included [those of a linear layer with bias]",
       "parameters"}};
  const auto output = study_output_options();
  options.insert(options.end(), output.begin(), output.end());
  return options;
}

ExitCode study_ranks(const Invocation& invocation,
                     const run::CommandLine& line) {
  Sweep sweep{};
  sweep.inputs = line.number<std::int64_t>("inputs", 768, 1, kMostDim);
  sweep.outputs = line.number<std::int64_t>("outputs", 1000, 1, kMostDim);
  sweep.budget = line.number<std::int64_t>(
      "budget",
      dense_mlp_parameters(sweep.inputs, sweep.outputs, 0, /*bias=*/true),
      1);
  const std::string text = line.text("experts", kExperts);
  std::vector<std::int64_t> experts;
  try {
    experts = run::parse_list(text);
  } catch (const InputError& error) {
    fail<InputError>("--experts {}: {}", text, error.what());
  }
  FindingsOutput output(invocation, line);
  sweep.counts =
      study::sweep_experts(sweep.inputs, sweep.outputs, experts, sweep.budget);
  if (output) output.show(findings_of(sweep), json_of(sweep));
  return ExitCode::done;
}

}  // namespace mumoe::launch
