#include "study/report/expert_charts.h"

#include <functional>
#include <string>
#include <utility>

namespace mumoe::study {
namespace {

using Share = std::function<double(const GateLoad& load)>;

Series series_of(const RunFacts& facts,
                 std::span<const GateLoad> loads,
                 int number,
                 const Share& share) {
  Series series{facts.run, {number, Line::solid, true}};
  for (std::size_t g = 0; g < loads.size(); ++g) {
    series.points.push_back({static_cast<double>(g), 100 * share(loads[g])});
  }
  return series;
}

}  // namespace

Chart expert_chart(const ExpertStudy& study) {
  Chart chart{"How the experts of each layer are used",
              {"layer, from 0"},
              {"share of the experts, %", Scale::linear, true},
              {}};
  const auto add = [&](std::string title, const Share& share) {
    Panel panel{std::move(title), {}};
    panel.series.push_back(series_of(study.facts, study.loads, 0, share));
    if (study.other) {
      panel.series.push_back(
          series_of(*study.other, study.other_loads, 1, share));
    }
    chart.panels.push_back(std::move(panel));
  };
  add("active at a token",
      [](const GateLoad& load) { return load.active_share(); });
  add("chosen at least once", [](const GateLoad& load) {
    return 1 - static_cast<double>(load.never_chosen()) /
                   static_cast<double>(load.gate.experts);
  });
  add("effective, by the load's entropy", [](const GateLoad& load) {
    return load.effective_experts() / static_cast<double>(load.gate.experts);
  });
  return chart;
}

}  // namespace mumoe::study
