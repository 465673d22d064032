// mumoe study svd: a model whose matrices keep their largest singular values.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/number.h"
#include "launch/asked_model.h"
#include "launch/study_call.h"
#include "launch/study_data.h"
#include "launch/study_output.h"
#include "study/experts/singular_values.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::Matrices;
using study::Quality;
using Kind = study::Column::Kind;

constexpr const char* kCommand = "mumoe study svd";
constexpr const char* kPercents = "1,2,5,10,20,30,40,50,60,70,80,90,100";

std::vector<double> percents_of(const std::string& text) {
  std::vector<double> percents;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    try {
      percents.push_back(
          parse_number<double>(text.substr(at, end - at), 0.0, 100.0));
    } catch (const InputError& error) {
      fail<InputError>("--percent {}: {}", text, error.what());
    }
    at = end + 1;
  }
  return percents;
}

Matrices matrices_of(const std::string& name) {
  if (name == "linear") return Matrices::linear;
  if (name == "factors") return Matrices::factors;
  if (name == "all") return Matrices::all;
  fail<InputError>("--matrices {}: expected linear, factors or all", name);
}

/// What was looked at, and what was found.
struct SvdReport {
  std::string run, checkpoint, model, data, part, matrices;
  std::int64_t step = 0;
  std::size_t samples = 0;
  struct Point {
    double percent;
    std::int64_t values;  ///< Kept, of all matrices.
    double energy;        ///< Mean over matrices.
    Quality quality;
  };
  std::vector<Point> points = {};
  struct Each {
    study::WeightMatrix matrix;
    double energy;
    Quality quality;
  };
  double each_percent = 0;
  std::vector<Each> each = {};
};

std::string accuracy_text(const Quality& quality) {
  return quality.accuracy < 0 ? ""
                              : fmt::format("{:.2f}", 100 * quality.accuracy);
}

study::Table point_table(const SvdReport& report) {
  study::Table table{"All matrices together",
                     {{"per cent", Kind::number},
                      {"values", Kind::number},
                      {"energy", Kind::number},
                      {"loss", Kind::number},
                      {"accuracy %", Kind::number}},
                     {}};
  for (const auto& point : report.points) {
    table.rows.push_back({fmt::format("{:g}", point.percent),
                          fmt::format("{}", point.values),
                          fmt::format("{:.2f} %", 100 * point.energy),
                          fmt::format("{:.4f}", point.quality.loss),
                          accuracy_text(point.quality)});
  }
  return table;
}

study::Table each_table(const SvdReport& report) {
  study::Table table{
      fmt::format("Each alone, {:g} % kept", report.each_percent),
      {{"matrix", Kind::words},
       {"shape", Kind::number},
       {"energy", Kind::number},
       {"loss", Kind::number},
       {"accuracy %", Kind::number}},
      {}};
  for (const auto& one : report.each) {
    table.rows.push_back(
        {one.matrix.name,
         fmt::format("{} x {}", one.matrix.rows, one.matrix.columns),
         fmt::format("{:.2f} %", 100 * one.energy),
         fmt::format("{:.4f}", one.quality.loss),
         accuracy_text(one.quality)});
  }
  return table;
}

study::NamedChart chart_of(const SvdReport& report, bool accuracy) {
  study::Series series{"", {0}};
  for (const auto& point : report.points) {
    series.points.push_back(
        {point.percent,
         accuracy ? 100 * point.quality.accuracy : point.quality.loss});
  }
  return {accuracy ? "accuracy" : "loss",
          "Singular values",
          "Every matrix keeps as large a share of its singular values, the "
          "largest.",
          {"Truncated weights",
           {"per cent of singular values kept"},
           {accuracy ? "per cent right" : "nats a target"},
           {{"", {std::move(series)}}}}};
}

study::StudyFindings findings_of(const SvdReport& report) {
  study::StudyFindings findings{"Singular values kept"};
  findings.facts = {
      {"run", fmt::format("{}, step {}", report.run, report.step)},
      {"model", report.model},
      {"data",
       fmt::format("{}, {}, {} samples",
                   report.data,
                   report.part,
                   report.samples)},
      {"matrices", report.matrices}};
  findings.tables = {point_table(report)};
  if (!report.each.empty()) findings.tables.push_back(each_table(report));
  const bool tells = report.points.front().quality.accuracy >= 0;
  if (tells) findings.charts.push_back(chart_of(report, /*accuracy=*/true));
  findings.charts.push_back(chart_of(report, /*accuracy=*/false));
  findings.notes = {
      "A matrix of r singular values keeps the largest, the given share of r, "
      "rounded up; energy: their share of the sum of all squares, mean over "
      "matrices. Embeddings, norms and biases stay as they are."};
  return findings;
}

json json_of(const SvdReport& report) {
  const auto quality = [](json object, const Quality& found) {
    object["loss"] = found.loss;
    object["accuracy"] = found.accuracy < 0 ? json() : json(found.accuracy);
    return object;
  };
  json points = json::array(), each = json::array();
  for (const auto& point : report.points) {
    points.push_back(quality({{"percent", point.percent},
                              {"values", point.values},
                              {"energy", point.energy}},
                             point.quality));
  }
  for (const auto& one : report.each) {
    each.push_back(quality({{"matrix", one.matrix.name},
                            {"rows", one.matrix.rows},
                            {"columns", one.matrix.columns},
                            {"percent", report.each_percent},
                            {"energy", one.energy}},
                           one.quality));
  }
  return {{"study", "svd"},
          {"run", report.run},
          {"checkpoint", report.checkpoint},
          {"step", report.step},
          {"model", report.model},
          {"data", report.data},
          {"part", report.part},
          {"samples", report.samples},
          {"matrices", report.matrices},
          {"points", points},
          {"each", each}};
}

/// Cuts all matrices down, then each. Collective.
void measure(AskedRun& run,
             const StudyData& data,
             const study::SingularValues& values,
             const std::vector<double>& percents,
             SvdReport& report) {
  const train::Scorer scorer{run.session.mesh, run.settled.compute.device};
  const auto quality = [&] {
    return study::quality_of(run.asked.model(),
                             scorer,
                             *data.samples,
                             data.batches);
  };
  const std::size_t count = values.matrices().size();
  for (const double percent : percents) {
    SvdReport::Point point{percent, 0, 0, {}};
    for (std::size_t i = 0; i < count; ++i) {
      values.keep(i, percent);
      point.values += values.matrices()[i].kept(percent);
      point.energy += values.energy(i, percent) / static_cast<double>(count);
    }
    point.quality = quality();
    report.points.push_back(point);
  }
  for (std::size_t i = 0; i < count; ++i) values.keep(i, 100);
  if (report.each_percent <= 0) return;
  for (std::size_t i = 0; i < count; ++i) {
    values.keep(i, report.each_percent);
    report.each.push_back({values.matrices()[i],
                           values.energy(i, report.each_percent),
                           quality()});
    values.keep(i, 100);
  }
}

}  // namespace

std::vector<run::OwnOption> study_svd_options() {
  auto options = study_data_options();
  const std::vector<run::OwnOption> own = {
      {"matrices",
       "WHICH",
       "linear (attention, dense MLPs, stem, head), factors (and gates) of "
       "mixtures, or all [linear]"},
      {"percent",
       "P,...",
       std::string("shares of singular values to keep [") + kPercents + "]",
       "keep grid"},
      {"each", "P", "also each matrix alone, P per cent kept"}};
  options.insert(options.end(), own.begin(), own.end());
  const auto output = study_output_options();
  options.insert(options.end(), output.begin(), output.end());
  return options;
}

ExitCode study_svd(const Invocation& invocation, const run::CommandLine& line) {
  const auto percents = percents_of(line.text("percent", kPercents));
  const std::string which = line.text("matrices", "linear");
  const Matrices matrices = matrices_of(which);
  const double each = line.number("each", 0.0, 1e-3, 100.0);
  FindingsOutput output(invocation, line);
  const auto ask = [&](AskedRun& run) {
    dist::ProcessMesh& mesh = run.session.mesh;
    const StudyData data = open_study_data(run, line);
    auto all = study::weight_matrices(run.asked.model(),
                                      run.asked.registry(),
                                      matrices);
    require(!all.empty(),
            "--matrices {}: the model of {} has none ({})",
            which,
            line.text("run", ""),
            run.asked.model().describe());
    SvdReport report{.run = line.text("run", ""),
                     .checkpoint = run.opened.checkpoint.string(),
                     .model = run.asked.model().describe(),
                     .data = data.facts.source,
                     .part = data.part,
                     .matrices = fmt::format("{}: {}", which, all.size()),
                     .step = run.asked.step(),
                     .samples = data.indices.size(),
                     .each_percent = each};
    mesh.set_phase("study");
    const study::SingularValues values(run.asked.registry(), std::move(all));
    measure(run, data, values, percents, report);
    if (output) output.show(findings_of(report), json_of(report));
  };
  return ask_run(invocation, line, kCommand, /*whole_tokens=*/true, ask);
}

}  // namespace mumoe::launch
