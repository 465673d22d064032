#include "launch/specialise_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/json.h"
#include "launch/fitted_table.h"

namespace mumoe::launch {
namespace {

using nlohmann::ordered_json;
using study::ClassScores;
using study::ExpertFocus;

/// Experts of a gate that the table shows: those that cost most.
constexpr std::size_t kShown = 12;

std::string class_text(const SpecialiseReport& report, std::int64_t index) {
  const auto& names = report.data.facts.class_names;
  if (report.text || index >= std::ssize(names)) {
    return fmt::format("{}", index);
  }
  return names[static_cast<std::size_t>(index)];
}

/// A share as percents, or nats.
std::string score_text(const SpecialiseReport& report, double score) {
  return report.text ? fmt::format("{:.4f}", score)
                     : fmt::format("{:.2f} %", 100 * score);
}

std::string mean_text(const study::Specialisation& found) {
  return found.mean ? fmt::format("{:.4f}", *found.mean) : "";
}

std::string interval_text(const std::optional<study::Interval>& interval) {
  return interval ? fmt::format("{:.4f}..{:.4f}", interval->low, interval->high)
                  : "";
}

/// By what their removal costs, the most first; of equals the first.
std::vector<std::size_t> by_cost(const ClassScores& scores) {
  std::vector<std::size_t> order(static_cast<std::size_t>(scores.gate.experts));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return scores.score_without(a) < scores.score_without(b);
  });
  return order;
}

void add_experts(FittedTable& table,
                 const SpecialiseReport& report,
                 const SpecialisedGate& gate) {
  const ClassScores& scores = gate.removal.scores;
  std::vector<FittedTable::Cells> rows;
  for (const std::size_t n : by_cost(scores)) {
    if (rows.size() == kShown) break;
    const ExpertFocus& focus = gate.found.experts[n];
    if (!focus.polysemanticity) continue;
    rows.push_back({fmt::format("{} #{}", scores.gate.name, n),
                    fmt::format("{}", scores.active[n]),
                    score_text(report, focus.score_without),
                    class_text(report, focus.top_class),
                    score_text(report, focus.taken),
                    fmt::format("{:.4f}", *focus.polysemanticity)});
  }
  if (rows.empty()) return;
  table.rows({"costliest", "active", "without", "class", "takes", "poly."},
             rows);
}

std::string check_text(const SpecialiseReport& report) {
  std::string text;
  for (const auto& [removal, found] : report.gates) {
    if (!report.checked || !removal.one_pass) continue;
    text += fmt::format(
        "\nchecked {}: {} predictions in one pass and by as many evaluations "
        "as\nexperts, {} differ; largest difference of a logit {:.1e}\n",
        removal.scores.gate.name,
        removal.check.predictions,
        removal.check.differing,
        removal.check.largest);
  }
  return text;
}

ordered_json number(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

ordered_json json_of(const study::Interval& interval) {
  return {interval.low, interval.high};
}

ordered_json experts_json(const SpecialisedGate& gate) {
  auto experts = ordered_json::array();
  for (std::size_t n = 0; n < gate.found.experts.size(); ++n) {
    const ExpertFocus& focus = gate.found.experts[n];
    experts.push_back({{"expert", n},
                       {"active", gate.removal.scores.active[n]},
                       {"score_without", focus.score_without},
                       {"top_class", focus.top_class},
                       {"taken", focus.taken},
                       {"polysemanticity", number(focus.polysemanticity)}});
  }
  return experts;
}

ordered_json gate_json(const SpecialiseReport& report,
                       const SpecialisedGate& gate) {
  const auto& [removal, found] = gate;
  const ClassScores& scores = removal.scores;
  ordered_json object = {
      {"gate", scores.gate.name},
      {"experts", scores.gate.experts},
      {"one_pass", removal.one_pass},
      {"score", scores.score()},
      {"polysemanticity", number(found.mean)},
      {"interval", found.interval ? json_of(*found.interval) : ordered_json()},
      {"skipped", found.skipped},
      {"targets", scores.targets},
      {"class_scores", scores.with_all},
      {"by_expert", experts_json(gate)}};
  // Of a vocabulary this would be more than anyone reads.
  if (!report.text) object["class_scores_without"] = scores.without;
  if (report.checked && removal.one_pass) {
    object["check"] = {{"predictions", removal.check.predictions},
                       {"differing", removal.check.differing},
                       {"largest_logit_difference", removal.check.largest}};
  }
  return object;
}

}  // namespace

std::string specialise_table(const SpecialiseReport& report,
                             std::size_t columns) {
  FittedTable table(columns);
  table.fact("run", fmt::format("{}, step {}", report.run, report.step));
  table.fact("model", report.model);
  table.fact("data",
             fmt::format("{}, {}, {} samples, in {}",
                         report.data.facts.source,
                         report.data.part,
                         report.data.indices.size(),
                         report.precision));
  std::vector<FittedTable::Cells> rows;
  for (const auto& [removal, found] : report.gates) {
    const ClassScores& scores = removal.scores;
    rows.push_back({scores.gate.name,
                    fmt::format("{}", scores.gate.experts),
                    score_text(report, scores.score()),
                    mean_text(found),
                    interval_text(found.interval),
                    fmt::format("{}", found.skipped)});
  }
  table.rows({"gate",
              "experts",
              report.text ? "nats" : "accuracy",
              "polysem.",
              "90 % interval",
              "skipped"},
             rows);
  for (const auto& gate : report.gates) add_experts(table, report, gate);
  return table.text() +
         "\n\npolysem.: distance of what an expert's removal does to the "
         "classes, as shares, from\none class; 0: one class takes all, near 1: "
         "all share it; mean over experts, with\nits bootstrap over them; "
         "skipped: experts whose removal does nothing\n" +
         check_text(report);
}

std::string specialise_json(const SpecialiseReport& report) {
  auto gates = ordered_json::array();
  for (const auto& gate : report.gates) {
    gates.push_back(gate_json(report, gate));
  }
  const ordered_json object = {
      {"study", "specialise"},
      {"run", report.run},
      {"checkpoint", report.checkpoint},
      {"step", report.step},
      {"model", report.model},
      {"data", report.data.facts.source},
      {"part", report.data.part},
      {"samples", report.data.indices.size()},
      {"precision", report.precision},
      {"score", report.text ? "log-likelihood, nats" : "accuracy"},
      {"damage", report.damage},
      {"class_names", report.data.facts.class_names},
      {"gates", gates}};
  return object.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace mumoe::launch
