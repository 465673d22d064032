#include "launch/bias_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "launch/fitted_table.h"

namespace mumoe::launch {
namespace {

using nlohmann::ordered_json;
using study::FairnessFigure;

std::string value_text(const BiasTechnique& technique,
                       const FairnessFigure& figure) {
  return fmt::format("{:.2f}", 100 * technique.found.figures.*figure.value);
}

std::string interval_text(const std::optional<study::Interval>& interval) {
  return interval ? fmt::format("{:.1f}..{:.1f}",
                                100 * interval->low,
                                100 * interval->high)
                  : "";
}

/// What columns are called.
FittedTable::Cells heads_of(FittedTable::Cells first) {
  for (const FairnessFigure& figure : study::fairness_figures()) {
    first.emplace_back(figure.value == &study::Fairness::subpopulation
                           ? "subpop."
                           : figure.name);
  }
  return first;
}

std::string counts_text(const std::vector<std::int64_t>& counts) {
  return fmt::format(
      "{} of target and group, {} of target alone, {} of group alone, {} of "
      "neither",
      counts[3],
      counts[2],
      counts[1],
      counts[0]);
}

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json();
}

}  // namespace

std::string bias_table(const BiasReport& report, std::size_t columns) {
  FittedTable table(columns);
  table.fact("run", fmt::format("{}, step {}", report.run, report.step));
  table.fact("model", report.model);
  table.fact("data", report.data);
  table.fact("target", report.target);
  table.fact("group", report.group);
  table.fact("subpop.", report.subpopulation);
  table.fact("trained on", counts_text(report.trained));
  table.fact("tested on", counts_text(report.tested));
  std::vector<FittedTable::Cells> values, intervals;
  for (const BiasTechnique& technique : report.techniques) {
    auto& row = values.emplace_back(FittedTable::Cells{
        technique.name,
        technique.lambda ? fmt::format("{:g}", *technique.lambda) : ""});
    auto& around = intervals.emplace_back(FittedTable::Cells{technique.name});
    for (std::size_t f = 0; f < study::kFairnessFigures; ++f) {
      row.push_back(value_text(technique, study::fairness_figures()[f]));
      around.push_back(interval_text(technique.found.intervals[f]));
    }
  }
  table.rows(heads_of({"technique", "lambda"}), values);
  table.rows(heads_of({"90 % interval"}), intervals);
  return table.text() +
         fmt::format(
             "\n\nin percent, intervals by bootstrap over the tested half; "
             "opportunity: difference of\ntrue positive rates between the "
             "group and the others, deviation: of the four subgroups'\n"
             "accuracies, of both less is better; worst: the lowest of them; "
             "subpop., accuracy: of the\none asked about, of all. A lambda has "
             "the best {} on the other half, of those\nthat cost at most {:g} "
             "% "
             "of accuracy there.\n",
             report.chosen_by,
             100 * report.cost);
}

std::string bias_json(const BiasReport& report) {
  auto techniques = ordered_json::array();
  for (const BiasTechnique& technique : report.techniques) {
    ordered_json one = {
        {"technique", technique.name},
        {"lambda",
         technique.lambda ? number(*technique.lambda) : ordered_json()}};
    for (std::size_t f = 0; f < study::kFairnessFigures; ++f) {
      const FairnessFigure& figure = study::fairness_figures()[f];
      const auto& interval = technique.found.intervals[f];
      one[figure.name] = {
          {"value", number(technique.found.figures.*figure.value)},
          {"interval",
           interval ? ordered_json{interval->low, interval->high}
                    : ordered_json()}};
    }
    for (const auto& [lambda, figures] : technique.curve) {
      ordered_json point = {{"lambda", lambda}};
      for (const FairnessFigure& figure : study::fairness_figures()) {
        point[figure.name] = number(figures.*figure.value);
      }
      one["curve"].push_back(point);
    }
    techniques.push_back(one);
  }
  const ordered_json object = {{"study", "bias"},
                               {"run", report.run},
                               {"checkpoint", report.checkpoint},
                               {"step", report.step},
                               {"model", report.model},
                               {"data", report.data},
                               {"target", report.target},
                               {"group", report.group},
                               {"subpopulation", report.subpopulation},
                               {"gate", report.gate},
                               {"chosen_by", report.chosen_by},
                               {"cost", report.cost},
                               {"trained", report.trained},
                               {"tested", report.tested},
                               {"techniques", techniques}};
  return object.dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace mumoe::launch
