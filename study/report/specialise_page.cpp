#include "study/report/specialise_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "study/report/inline_svg.h"

namespace mumoe::study {
namespace {

using Of = SeedFigure HeadFigures::*;

ChartPoint point_of(double x, const SeedFigure& figure, double unit) {
  ChartPoint point{x, unit * *figure.mean()};
  if (const auto interval = figure.interval()) {
    point.low = unit * interval->low;
    point.high = unit * interval->high;
  }
  return point;
}

/// A gate's colour is the same in all charts.
int look_of(const std::vector<HeadFigures>& heads, const std::string& gate) {
  std::set<std::string> gates;
  for (const HeadFigures& head : heads) gates.insert(head.gate);
  gates.erase("");
  return static_cast<int>(std::distance(gates.begin(), gates.find(gate)));
}

/// What linear heads reach, from the fewest to the most experts.
std::vector<Series> linear_series(const std::vector<HeadFigures>& heads,
                                  double low,
                                  double high) {
  std::vector<Series> all;
  for (const HeadFigures& head : heads) {
    if (head.experts > 0 || !head.accuracy.mean()) continue;
    const bool first = all.empty();
    Series series{head.head == "linear" ? "linear head" : "high-rank head",
                  {-1, first ? Line::dotted : Line::dashed, false}};
    const auto interval = head.accuracy.interval();
    for (const double x : {low, high}) {
      series.points.push_back({x, 100 * *head.accuracy.mean()});
      if (!interval) continue;
      series.band.push_back({x, 100 * interval->low, 100 * interval->high});
    }
    all.push_back(std::move(series));
  }
  return all;
}

Chart chart_of(const std::vector<HeadFigures>& heads,
               const std::string& title,
               const ChartAxis& y,
               Of of,
               double unit,
               bool linear) {
  Chart chart{title, {"experts", Scale::log2}, y, {}};
  double low = INFINITY, high = 0;
  for (const HeadFigures& head : heads) {
    if (head.experts == 0) continue;
    low = std::min(low, static_cast<double>(head.experts));
    high = std::max(high, static_cast<double>(head.experts));
    const std::string panel = fmt::format("{} norm", head.norm);
    if (chart.panels.empty() || chart.panels.back().title != panel) {
      chart.panels.push_back({panel, {}});
    }
    auto& series = chart.panels.back().series;
    if (series.empty() || series.back().name != head.gate) {
      series.push_back({head.gate, {look_of(heads, head.gate)}});
    }
    const SeedFigure& figure = head.*of;
    if (!figure.mean()) continue;
    series.back().points.push_back(
        point_of(static_cast<double>(head.experts), figure, unit));
  }
  if (!linear) return chart;
  for (Panel& panel : chart.panels) {
    for (Series& series : linear_series(heads, low, high)) {
      panel.series.push_back(std::move(series));
    }
  }
  return chart;
}

std::string figure_text(const SeedFigure& figure, double unit, int digits) {
  if (!figure.mean()) return "";
  const auto interval = figure.interval();
  const std::string mean =
      fmt::format("{:.{}f}", unit * *figure.mean(), digits);
  if (!interval) return mean;
  return fmt::format("{} ± {:.{}f}",
                     mean,
                     unit * (interval->high - interval->low) / 2,
                     digits);
}

void explain(Page& page, const std::string& damage) {
  page.section("How this is found");
  page.paragraph(
      "Each head was trained alone. Then each of its experts was taken out "
      "(its coefficient set to 0, the others left as they are), which one pass "
      "tells of all experts, and the accuracy y of every class compared with "
      "its accuracy y' without the expert.");
  page.paragraph(fmt::format(
      "Polysemanticity of an expert is the distance ‖d − 1‖₂ of its damage d, "
      "{}, made to sum to 1, from that of one class alone: 0 where all is done "
      "to one class, near 1 where many share it. Experts that damage nothing "
      "have none; they are counted, and left out of the mean.",
      damage == "drop" ? "max(y − y', 0)" : "|y − y'|"));
  page.paragraph(
      "Points are means over seeds; bars and ± are 90 % intervals of the mean "
      "by Student's distribution of the seeds. They say how the figures vary "
      "with the seed of training, not with other data. All heads with experts, "
      "and the high-rank one, have about as many parameters, gates among "
      "them.");
}

}  // namespace

std::vector<NamedChart> specialise_charts(
    const std::vector<HeadFigures>& heads) {
  return {{"polysemanticity",
           "Polysemanticity",
           "Mean over experts; less: experts are for fewer classes.",
           chart_of(heads,
                    "Polysemanticity over experts",
                    {"polysemanticity"},
                    &HeadFigures::polysemanticity,
                    1,
                    /*linear=*/false)},
          {"accuracy",
           "Accuracy",
           "Of validation, at one number of parameters; the linear head has "
           "fewer.",
           chart_of(heads,
                    "Accuracy over experts",
                    {"accuracy, %"},
                    &HeadFigures::accuracy,
                    100,
                    /*linear=*/true)},
          {"without_damage",
           "Experts without damage",
           "Whose removal changes the accuracy of no class.",
           chart_of(heads,
                    "Experts without damage",
                    {"% of experts", Scale::linear, true},
                    &HeadFigures::skipped,
                    100,
                    /*linear=*/false)}};
}

Table specialise_figures_table(const std::vector<HeadFigures>& heads) {
  Table table{"Means over seeds, with 90 % intervals",
              {{"head"},
               {"experts", Column::Kind::number},
               {"gate"},
               {"norm"},
               {"parameters", Column::Kind::number},
               {"seeds", Column::Kind::number},
               {"accuracy, %", Column::Kind::number},
               {"polysemanticity", Column::Kind::number},
               {"without damage, %", Column::Kind::number},
               {"dead, %", Column::Kind::number}},
              {}};
  for (const HeadFigures& head : heads) {
    table.rows.push_back(
        {head.head,
         head.experts > 0 ? fmt::format("{}", head.experts) : "",
         head.gate,
         head.norm,
         fmt::format("{}", head.parameters),
         fmt::format("{}", head.accuracy.values.size()),
         figure_text(head.accuracy, 100, 2),
         figure_text(head.polysemanticity, 1, 4),
         figure_text(head.skipped, 100, 1),
         figure_text(head.dead, 100, 1)});
  }
  return table;
}

void write_specialise_page(const std::filesystem::path& folder,
                           const std::vector<SpecialiseResult>& results,
                           const std::string& name,
                           const std::string& damage) {
  const auto heads = head_figures(results);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: {}", folder.string(), error.message());
  Page page(name);
  page.list(
      {fmt::format("{} heads of {} kinds", results.size(), heads.size())});
  for (const NamedChart& named : specialise_charts(heads)) {
    const std::string svg = chart_svg(named.chart);
    write_file_atomically(folder / (named.name + ".svg"), svg);
    write_file_atomically(folder / (named.name + ".png"),
                          chart_png(named.chart));
    page.section(named.subject);
    page.figure(inline_svg(svg, named.name, named.chart.title),
                fmt::format("{} ({}.svg, .png)", named.caption, named.name));
  }
  page.section("All heads");
  page.table(specialise_figures_table(heads));
  explain(page, damage);
  write_file_atomically(folder / "report.html", page.html());
}

}  // namespace mumoe::study
