#include "launch/domains_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <optional>

namespace mumoe::launch {
namespace {

using nlohmann::json;
using study::ChartPoint;
using study::Column;
using study::Interval;
using study::ProbeResult;
using Kind = study::Column::Kind;

std::string between(const std::optional<Interval>& interval, int digits) {
  if (!interval) return "";
  return fmt::format("{:.{}f} to {:.{}f}",
                     interval->low,
                     digits,
                     interval->high,
                     digits);
}

study::Table information_table(const DomainsReport& report) {
  study::Table table{"Mutual information of expert and source, nats",
                     {{"gate", Kind::words},
                      {"experts", Kind::number},
                      {"MI", Kind::number},
                      {"90 %", Kind::number},
                      {"shuffled", Kind::number},
                      {"95 % below", Kind::number},
                      {"oracle", Kind::number},
                      {"share", Kind::number}},
                     {}};
  for (const DomainsOfGate& gate : report.gates) {
    const study::DomainInformation& found = gate.information;
    table.rows.push_back({gate.name,
                          fmt::format("{}", gate.experts),
                          fmt::format("{:.4f}", found.information),
                          between(found.interval, 4),
                          fmt::format("{:.4f}", found.shuffled),
                          fmt::format("{:.4f}", found.shuffled_high),
                          fmt::format("{:.4f}", found.oracle),
                          fmt::format("{:.1f} %", 100 * found.share())});
  }
  return table;
}

std::vector<std::string> probe_row(const std::string& name,
                                   const ProbeResult& probe) {
  std::string interval;
  if (probe.interval) {
    interval = fmt::format("{:.1f} to {:.1f}",
                           100 * probe.interval->low,
                           100 * probe.interval->high);
  }
  return {name,
          fmt::format("{}", probe.features),
          fmt::format("{:.1f}", 100 * probe.accuracy),
          interval,
          fmt::format("{:.1f}", 100 * probe.train_accuracy)};
}

study::Table probe_table(const DomainsReport& report) {
  study::Table table{"Linear classifier of the source, per cent right",
                     {{"features", Kind::words},
                      {"number", Kind::number},
                      {"test", Kind::number},
                      {"90 %", Kind::number},
                      {"training", Kind::number}},
                     {}};
  for (const DomainsOfGate& gate : report.gates) {
    table.rows.push_back(probe_row("routing of " + gate.name, gate.probe));
  }
  table.rows.push_back(probe_row("routing of all gates", report.all));
  for (const DomainsOfMlp& mlp : report.dense) {
    table.rows.push_back(probe_row(fmt::format("{} of {} dense units of {}",
                                               mlp.probe.features,
                                               mlp.units,
                                               mlp.name),
                                   mlp.probe));
  }
  if (!report.dense.empty()) {
    table.rows.push_back(
        probe_row("these dense units of all MLPs", report.dense_all));
  }
  return table;
}

study::Table source_table(const DomainsReport& report) {
  study::Table table{
      "Test windows told right by the classifier of all, per "
      "cent",
      {{"source", Kind::words}, {"routing", Kind::number}},
      {}};
  if (!report.dense.empty()) table.columns.push_back({"dense", Kind::number});
  for (std::size_t s = 0; s < report.sources.size(); ++s) {
    std::vector<std::string> row = {
        report.sources[s],
        fmt::format("{:.1f}", 100 * report.all.by_label[s])};
    if (!report.dense.empty()) {
      row.push_back(fmt::format("{:.1f}", 100 * report.dense_all.by_label[s]));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

ChartPoint point(double x,
                 double y,
                 const std::optional<Interval>& interval,
                 double unit) {
  ChartPoint at{x, unit * y};
  if (interval) {
    at.low = unit * interval->low;
    at.high = unit * interval->high;
  }
  return at;
}

study::NamedChart information_chart(const DomainsReport& report) {
  study::Series found{"expert and source", {0}}, shuffled{"labels dealt", {-1}},
      oracle{"oracle", {1}};
  shuffled.look.line = study::Line::dashed;
  oracle.look.line = study::Line::dotted;
  double x = 0;
  for (const DomainsOfGate& gate : report.gates) {
    const study::DomainInformation& each = gate.information;
    found.points.push_back(point(x, each.information, each.interval, 1));
    shuffled.points.push_back({x, each.shuffled});
    oracle.points.push_back({x, each.oracle});
    ++x;
  }
  return {
      "information",
      "Mutual information",
      "Between what would be found of nothing, with labels dealt to windows "
      "by chance, and what experts of one source each would give; bars are "
      "the middle 90 % when windows are drawn again.",
      {"Expert and source",
       {"gate, front to back"},
       {"nats", study::Scale::log10},
       {{"", {found, shuffled, oracle}}}}};
}

study::NamedChart probe_chart(const DomainsReport& report) {
  study::Series routing{"routing", {0}}, dense{"dense units", {1}},
      chance{"chance", {-1}};
  chance.look.line = study::Line::dashed;
  double x = 0;
  for (const DomainsOfGate& gate : report.gates) {
    routing.points.push_back(
        point(x, gate.probe.accuracy, gate.probe.interval, 100));
    chance.points.push_back({x++, 100 * report.chance});
  }
  x = 0;
  for (const DomainsOfMlp& mlp : report.dense) {
    dense.points.push_back(
        point(x++, mlp.probe.accuracy, mlp.probe.interval, 100));
  }
  std::vector<study::Series> series = {routing, chance};
  if (!report.dense.empty()) series.push_back(dense);
  return {"classifier",
          "Linear classifier",
          "Windows of the half that it did not learn from whose source it "
          "tells, by the mean coefficients of one gate; of a dense MLP by the "
          "means of as many of its hidden units.",
          {"Source told from one layer",
           {"layer, front to back"},
           {"per cent right", study::Scale::linear, true},
           {{"", std::move(series)}}}};
}

json to_json(const std::optional<Interval>& interval) {
  return interval ? json{interval->low, interval->high} : json();
}

json to_json(const ProbeResult& probe) {
  return {{"features", probe.features},
          {"accuracy", probe.accuracy},
          {"interval_90", to_json(probe.interval)},
          {"train_accuracy", probe.train_accuracy},
          {"accuracy_by_source", probe.by_label}};
}

}  // namespace

study::StudyFindings domains_findings(const DomainsReport& report) {
  study::StudyFindings findings{"Experts and sources of text"};
  findings.facts = {
      {"run", fmt::format("{}, step {}", report.run, report.step)},
      {"model", report.model},
      {"data",
       fmt::format("{}, {} windows of {}",
                   report.part,
                   report.windows,
                   fmt::join(report.sources, ", "))}};
  if (!report.dense_run.empty()) {
    findings.facts.emplace_back(
        "dense twin",
        fmt::format("{}, {}", report.dense_run, report.dense_model));
  }
  findings.tables = {information_table(report),
                     probe_table(report),
                     source_table(report)};
  findings.notes = {
      "MI: of the expert that works and the source of its token, each expert "
      "weighted by its coefficient; 90 %: when windows are drawn again; "
      "shuffled: mean with labels dealt to windows by chance, and what 95 % of "
      "such draws stay below; oracle: the entropy of the labels, of experts "
      "that each know one source; share: where MI lies from shuffled to "
      "oracle.",
      fmt::format(
          "The classifier is a multinomial logistic regression on the mean "
          "coefficients of a window, learnt from the first half of each "
          "source's windows, in the order of its texts, and asked about the "
          "second; always naming one source is right in {:.1f} per cent. Dense "
          "units are means of hidden units behind GELU: of each MLP as many as "
          "its mixture has experts, those whose means vary most over the first "
          "half.",
          100 * report.chance)};
  findings.charts = {information_chart(report), probe_chart(report)};
  return findings;
}

json domains_json(const DomainsReport& report) {
  json gates = json::array(), dense;
  for (const DomainsOfGate& gate : report.gates) {
    const study::DomainInformation& found = gate.information;
    gates.push_back({{"gate", gate.name},
                     {"experts", gate.experts},
                     {"information_nats", found.information},
                     {"information_interval_90", to_json(found.interval)},
                     {"shuffled_nats", found.shuffled},
                     {"shuffled_95_nats", found.shuffled_high},
                     {"oracle_nats", found.oracle},
                     {"share", found.share()},
                     {"classifier", to_json(gate.probe)}});
  }
  if (!report.dense_run.empty()) {
    json mlps = json::array();
    for (const DomainsOfMlp& mlp : report.dense) {
      mlps.push_back({{"mlp", mlp.name},
                      {"units", mlp.units},
                      {"classifier", to_json(mlp.probe)}});
    }
    dense = {{"run", report.dense_run},
             {"model", report.dense_model},
             {"mlps", mlps},
             {"classifier_of_all", to_json(report.dense_all)}};
  }
  return {{"study", "domains"},
          {"run", report.run},
          {"checkpoint", report.checkpoint},
          {"step", report.step},
          {"model", report.model},
          {"data", report.data},
          {"part", report.part},
          {"sources", report.sources},
          {"windows", report.windows},
          {"chance", report.chance},
          {"gates", gates},
          {"classifier_of_all", to_json(report.all)},
          {"dense", dense}};
}

}  // namespace mumoe::launch
