#include "study/runs/run_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "study/runs/thinned.h"

namespace mumoe::study {
namespace {

using Runs = std::span<const RunRecord>;
using Value = std::function<double(const RunPoint&)>;

Value member(double RunPoint::*of, double times = 1) {
  return [=](const RunPoint& point) { return times * (point.*of); };
}

double step_of(const RunPoint& point) {
  return static_cast<double>(point.step);
}

/// A caption of what may be thinned.
std::string of_steps(const char* what) {
  return fmt::format(
      "{} Of a long run, means of stretches; shaded from the least to the "
      "largest.",
      what);
}

/// Time of the longest run in words, and seconds of that.
std::pair<const char*, double> unit_of_time(Runs runs) {
  double longest = 0;
  for (const RunRecord& run : runs) {
    longest = std::max(longest, run.metrics.points.back().elapsed_s);
  }
  if (longest > 2 * 3600) return {"hours", 3600};
  if (longest > 180) return {"minutes", 60};
  return {"seconds", 1};
}

/// "tokens", or what else all runs learn from.
std::string targets_of(Runs runs) {
  const std::string target = runs[0].metrics.target + "s";
  for (const RunRecord& run : runs) {
    if (run.metrics.target + "s" != target) return "tokens or images";
  }
  return target;
}

Series of_points(std::string name,
                 Look look,
                 std::vector<ChartPoint> points,
                 std::size_t most = 400) {
  auto kept = thinned(std::move(points), most);
  Series series{std::move(name), look, std::move(kept.points)};
  series.band = std::move(kept.band);
  return series;
}

/// A chart of one panel, a line a run of what each of its steps says.
Chart line_chart(Runs runs,
                 const char* title,
                 ChartAxis x_axis,
                 ChartAxis y_axis,
                 const Value& x,
                 const Value& y) {
  Chart chart{title, std::move(x_axis), std::move(y_axis), {{}}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::vector<ChartPoint> points;
    for (const RunPoint& at : runs[i].metrics.points) {
      points.push_back({x(at), y(at)});
    }
    chart.panels[0].series.push_back(
        of_points(runs[i].name,
                  {static_cast<int>(i), Line::solid, false},
                  std::move(points)));
  }
  return chart;
}

bool is_empty(const Chart& chart) {
  return std::ranges::all_of(chart.panels, [](const Panel& panel) {
    return std::ranges::all_of(panel.series, [](const Series& series) {
      return series.points.empty();
    });
  });
}

void add_losses(Runs runs, std::vector<NamedChart>& charts) {
  const auto [unit, seconds] = unit_of_time(runs);
  const ChartAxis nats{"training loss, nats", Scale::log10};
  const auto loss = member(&RunPoint::loss);
  charts.push_back(
      {"loss_step",
       "Loss by step",
       of_steps("Training loss."),
       line_chart(runs, "Loss by step", {"steps"}, nats, step_of, loss)});
  const std::string targets = targets_of(runs);
  charts.push_back({"loss_targets",
                    fmt::format("Loss by {}", targets),
                    "The same over what was trained on.",
                    line_chart(runs,
                               "Loss by what was trained on",
                               {targets},
                               nats,
                               member(&RunPoint::targets),
                               loss)});
  charts.push_back({"loss_time",
                    "Loss by time",
                    "The same over the time of the run, without its starts.",
                    line_chart(runs,
                               "Loss by time",
                               {unit},
                               nats,
                               member(&RunPoint::elapsed_s, 1 / seconds),
                               loss)});
}

NamedChart validation_chart(Runs runs) {
  Chart chart{"Validation loss",
              {"steps"},
              {"validation loss, nats", Scale::log10},
              {{}}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::vector<ChartPoint> points;
    for (const RunEvaluation& each : runs[i].metrics.evaluations) {
      points.push_back({step_of(each.at), each.found.loss});
    }
    chart.panels[0].series.push_back(
        of_points(runs[i].name,
                  {static_cast<int>(i), Line::solid, points.size() < 60},
                  std::move(points)));
  }
  return {"validation_loss",
          "Validation loss",
          "After the steps that were evaluated.",
          std::move(chart)};
}

NamedChart peak_chart(Runs runs) {
  Chart chart = line_chart(runs,
                           "MFU and speed of light",
                           {"steps"},
                           {"% of the peak", Scale::linear, true},
                           step_of,
                           member(&RunPoint::mfu, 100));
  const Chart sol =
      line_chart(runs, "", {}, {}, step_of, member(&RunPoint::sol, 100));
  for (Series series : sol.panels[0].series) {
    if (series.points.empty()) continue;
    series.name.clear();
    series.look.line = Line::dashed;
    series.band.clear();
    chart.panels[0].series.push_back(std::move(series));
  }
  chart.keys = {{"MFU", {-1, Line::solid, false}},
                {"speed of light", {-1, Line::dashed, false}}};
  return {"peak",
          "MFU and speed of light",
          "The model's FLOPs, and dashed all products that a rank computes, "
          "over what the hardware could multiply in that time.",
          std::move(chart)};
}

void add_rates(Runs runs, std::vector<NamedChart>& charts) {
  const std::string targets = targets_of(runs);
  charts.push_back(
      {"rate",
       "Rate",
       of_steps("Of all ranks, step by step."),
       line_chart(runs,
                  "Rate",
                  {"steps"},
                  {fmt::format("{} a second", targets), Scale::linear, true},
                  step_of,
                  member(&RunPoint::targets_per_s))});
  charts.push_back(peak_chart(runs));
  charts.push_back({"gradient_norm",
                    "Gradient norm",
                    of_steps("Before it is clipped."),
                    line_chart(runs,
                               "Gradient norm",
                               {"steps"},
                               {"norm", Scale::log10},
                               step_of,
                               member(&RunPoint::grad_norm))});
  charts.push_back({"learning_rate",
                    "Learning rate",
                    "As the schedule has it.",
                    line_chart(runs,
                               "Learning rate",
                               {"steps"},
                               {"learning rate", Scale::linear, true},
                               step_of,
                               member(&RunPoint::lr))});
}

using GateValue = std::function<double(const train::ExpertFigures&)>;

struct GateFigure {
  const char* title;
  GateValue value;
};

/// In percent of the experts of a gate.
std::vector<GateFigure> gate_figures() {
  const auto share = [](double of, std::int64_t experts) {
    return 100 * of / static_cast<double>(experts);
  };
  using Figures = train::ExpertFigures;
  return {
      {"active for a token", [](const Figures& f) { return 100 * f.active; }},
      {"effective",
       [=](const Figures& f) { return share(f.effective, f.experts); }},
      {"dead", [=](const Figures& f) {
         return share(static_cast<double>(f.dead), f.experts);
       }}};
}

/// Means over the gates, in a band from the least to the largest.
Series over_gates(const RunRecord& run, int look, const GateValue& value) {
  Series series{run.name, {look, Line::solid, false}};
  const auto& all = run.metrics.experts;
  // Every so many, so that no more than 200 are left.
  const std::size_t stride = all.size() / 200 + 1;
  for (std::size_t i = 0; i < all.size(); i += stride) {
    const double x = static_cast<double>(all[i].step);
    BandPoint band{x, INFINITY, -INFINITY};
    double sum = 0;
    for (const train::ExpertFigures& gate : all[i].gates) {
      sum += value(gate);
      band.low = std::min(band.low, value(gate));
      band.high = std::max(band.high, value(gate));
    }
    series.points.push_back(
        {x, sum / static_cast<double>(all[i].gates.size())});
    series.band.push_back(band);
  }
  return series;
}

void add_experts(Runs runs, std::vector<NamedChart>& charts) {
  const ChartAxis percent{"% of the experts", Scale::linear, true};
  Chart steps{"Experts by step", {"steps"}, percent, {}};
  Chart layers{"Experts by layer", {"gate"}, percent, {}};
  for (const GateFigure& figure : gate_figures()) {
    Panel by_step{figure.title, {}}, by_layer{figure.title, {}};
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const int look = static_cast<int>(i);
      by_step.series.push_back(over_gates(runs[i], look, figure.value));
      Series series{runs[i].name, {look, Line::solid, true}};
      if (!runs[i].metrics.experts.empty()) {
        double place = 0;
        for (const auto& gate : runs[i].metrics.experts.back().gates) {
          series.points.push_back({place++, figure.value(gate)});
        }
      }
      by_layer.series.push_back(std::move(series));
    }
    steps.panels.push_back(std::move(by_step));
    layers.panels.push_back(std::move(by_layer));
  }
  charts.push_back({"experts_step",
                    "Experts by step",
                    "Means over the gates; shaded from the least to the "
                    "largest. Effective: of how many experts, used evenly, "
                    "the mean load would have its entropy. Dead: no token of "
                    "the step gave it more than 0.",
                    std::move(steps)});
  charts.push_back({"experts_layer",
                    "Experts by layer",
                    "The newest figures of each gate, front to back; their "
                    "names are in the table.",
                    std::move(layers)});
}

}  // namespace

std::vector<NamedChart> run_charts(Runs runs) {
  std::vector<NamedChart> charts;
  add_losses(runs, charts);
  charts.push_back(validation_chart(runs));
  add_rates(runs, charts);
  add_experts(runs, charts);
  std::erase_if(charts,
                [](const NamedChart& named) { return is_empty(named.chart); });
  return charts;
}

}  // namespace mumoe::study
