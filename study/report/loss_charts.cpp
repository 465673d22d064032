#include "study/report/loss_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "study/report/scale_series.h"

namespace mumoe::study {
namespace {

constexpr int kCurvePoints = 25;

Series key(std::string name, Line line, bool banded = false) {
  return {std::move(name), {kNoColour, line, false}, {}, {}, banded};
}

Series keyless(int look, Line line, bool marks) {
  return {{}, {look, line, marks}};
}

ChartPoint point_of(double x, const LossCell& cell) {
  return {x, cell.mean(), cell.low(), cell.high()};
}

/// A point of a law's line, and of its band where it has one.
void add_law(Series& series,
             const DrawnLaw& law,
             double x,
             const std::function<double(const LossLaw&)>& of) {
  series.points.push_back({x, of(*law.fit.law)});
  const auto range = law.range(of);
  if (range) series.band.push_back({x, range->low, range->high});
}

/// Places from `low` to `high` at equal ratios.
std::vector<double> places(double low, double high) {
  std::vector<double> all;
  for (int i = 0; i < kCurvePoints; ++i) {
    all.push_back(low * std::pow(high / low, i / (kCurvePoints - 1.)));
  }
  return all;
}

/// Marks of a form's model, by its size; forms whose sizes are nearly those of
/// the first form take its colours and names.
Series of_size(const LossAnalysis& analysis,
               const FormLosses& form,
               std::size_t index) {
  const double size = form.curves[index].parameters;
  const auto& first = analysis.forms[0].curves;
  const auto same = std::ranges::find_if(first, [&](auto& other) {
    return std::abs(other.parameters / size - 1) < kSame;
  });
  if (&form == &analysis.forms[0] || same == first.end()) {
    return {short_number(size), {static_cast<int>(index), Line::none, true}};
  }
  const int look = static_cast<int>(same - first.begin());
  return {short_number(same->parameters), {look, Line::none, true}};
}

NamedChart tokens_chart(const LossAnalysis& analysis) {
  Chart chart{"Loss over tokens, by size",
              {"tokens", Scale::log10},
              {"nats a token", Scale::log10},
              {}};
  bool any_law = false;
  for (const FormLosses& form : analysis.forms) {
    Panel& panel = chart.panels.emplace_back(Panel{form.form, {}});
    for (std::size_t i = 0; i < form.curves.size(); ++i) {
      const LossCurve& curve = form.curves[i];
      Series measured = of_size(analysis, form, i);
      for (const LossCell& cell : curve.cells) {
        measured.points.push_back(point_of(cell.tokens, cell));
      }
      Series law = keyless(measured.look.number, Line::dashed, false);
      if (form.law.fit.law) {
        any_law = true;
        for (const double tokens :
             places(curve.cells.front().tokens, curve.cells.back().tokens)) {
          add_law(law, form.law, tokens, [&](const LossLaw& each) {
            return each.at(curve.parameters, tokens);
          });
        }
      }
      panel.series.push_back(std::move(measured));
      panel.series.push_back(std::move(law));
    }
  }
  if (any_law) chart.keys = {key("law, 90 % band", Line::dashed, true)};
  return {"loss_tokens",
          "Loss over tokens",
          "Validation loss at the end of each run, means over the seeds with "
          "the least and the largest; colours: parameters, embeddings left "
          "out.",
          std::move(chart)};
}

/// From the fewest to the most FLOPs of a run.
std::pair<double, double> flops_of(const FormLosses& form) {
  double low = INFINITY, high = 0;
  for (const LossCurve& curve : form.curves) {
    const double of_token = curve.flops_per_token;
    low = std::min(low, of_token * curve.cells.front().tokens);
    high = std::max(high, of_token * curve.cells.back().tokens);
  }
  return {low, high};
}

NamedChart flops_chart(const LossAnalysis& analysis) {
  Chart chart{"Loss over FLOPs",
              {"FLOPs of training", Scale::log10},
              {"nats a token", Scale::log10},
              {{}}};
  bool any_law = false;
  for (std::size_t i = 0; i < analysis.forms.size(); ++i) {
    const FormLosses& form = analysis.forms[i];
    const int look = static_cast<int>(i);
    Series measured{form.form, {look, Line::none, true}};
    for (const LossCurve& curve : form.curves) {
      for (const LossCell& cell : curve.cells) {
        measured.points.push_back(
            point_of(cell.tokens * curve.flops_per_token, cell));
      }
    }
    Series frontier = keyless(look, Line::dashed, false);
    if (form.law.fit.law) {
      any_law = true;
      const auto [low, high] = flops_of(form);
      for (const double flops : places(low, high)) {
        add_law(frontier, form.law, flops, [&](const LossLaw& each) {
          return optimum(each, flops, form.factor.value).loss;
        });
      }
    }
    chart.panels[0].series.push_back(std::move(measured));
    chart.panels[0].series.push_back(std::move(frontier));
  }
  if (any_law) {
    chart.keys = {key("frontier by the law, 90 % band", Line::dashed, true)};
  }
  return {"loss_flops",
          "Loss over FLOPs",
          "All models after all numbers of tokens. Frontier: the least loss "
          "that a form's law has for these FLOPs, at the best size.",
          std::move(chart)};
}

/// The largest loss that curves go to: a little more than was measured, since
/// far from it they would squeeze what was.
double highest_loss(const LossAnalysis& analysis) {
  double highest = 0;
  for (const FormLosses& form : analysis.forms) {
    for (const LossCurve& curve : form.curves) {
      for (const LossCell& cell : curve.cells) {
        highest = std::max(highest, cell.high());
      }
    }
  }
  return 1.2 * highest;
}

void add_budget(const IsoFlop& iso, int look, double highest, Panel& panel) {
  const auto name = fmt::format("{:.2g} FLOPs", iso.flops);
  Series measured{name, {look, Line::none, true}};
  for (const IsoMeasured& each : iso.measured) {
    measured.points.push_back({each.parameters, each.loss});
  }
  panel.series.push_back(std::move(measured));
  Series law = keyless(look, Line::dashed, false);
  for (const IsoPoint& at : iso.curve) {
    if (std::max(at.loss, at.range ? at.range->high : 0) > highest) continue;
    law.points.push_back({at.parameters, at.loss});
    if (at.range) {
      law.band.push_back({at.parameters, at.range->low, at.range->high});
    }
  }
  panel.series.push_back(std::move(law));
  if (!iso.parabola) return;
  Series parabola = keyless(look, Line::solid, false);
  for (const double size : places(iso.measured.front().parameters,
                                  iso.measured.back().parameters)) {
    parabola.points.push_back({size, iso.parabola->at(size)});
  }
  panel.series.push_back(std::move(parabola));
}

NamedChart iso_chart(const LossAnalysis& analysis) {
  Chart chart{"Loss over size at equal FLOPs",
              {"parameters", Scale::log10},
              {"nats a token", Scale::log10},
              {}};
  bool laws = false, parabolas = false;
  const double highest = highest_loss(analysis);
  for (std::size_t i = 0; i < analysis.forms.size(); ++i) {
    const FormLosses& form = analysis.forms[i];
    Panel& panel = chart.panels.emplace_back(Panel{form.form, {}});
    Series best{"best size by the law", {kNoColour, Line::dotted, true}};
    int look = 0;
    for (const IsoFlop& iso : analysis.iso_flops[i]) {
      add_budget(iso, look++, highest, panel);
      parabolas = parabolas || iso.parabola;
      if (!iso.best) continue;
      laws = true;
      // Beyond the curve a minimum would squeeze all others.
      const double size = iso.best->parameters;
      if (size >= iso.curve.front().parameters &&
          size <= iso.curve.back().parameters) {
        best.points.push_back({size, iso.best->loss});
      }
    }
    if (!best.points.empty()) panel.series.push_back(std::move(best));
  }
  if (laws) chart.keys.push_back(key("law, 90 % band", Line::dashed, true));
  if (parabolas) {
    chart.keys.push_back(key("parabola through measured", Line::solid));
  }
  return {"isoflop",
          "Equal FLOPs",
          "Marks: losses of measured models at a budget, each between its own "
          "measured tokens. Curves reach to half of the smallest measured size "
          "and twice the largest, where they and their bands stay below 1.2 "
          "times the largest measured loss.",
          std::move(chart)};
}

NamedChart residual_chart(const LossAnalysis& analysis) {
  Chart chart{"Measured against the law",
              {"nats a token, by the law", Scale::log10},
              {"measured over law - 1, %", Scale::linear},
              {}};
  for (const FormLosses& form : analysis.forms) {
    if (!form.law.fit.law) continue;
    Panel& panel = chart.panels.emplace_back(Panel{form.form, {}});
    Series none{"the law", {kNoColour, Line::dotted, false}};
    for (std::size_t i = 0; i < form.curves.size(); ++i) {
      const LossCurve& curve = form.curves[i];
      Series series = of_size(analysis, form, i);
      for (const LossCell& cell : curve.cells) {
        const double law = form.law.fit.law->at(curve.parameters, cell.tokens);
        series.points.push_back({law,
                                 100 * (cell.mean() / law - 1),
                                 100 * (cell.low() / law - 1),
                                 100 * (cell.high() / law - 1)});
        none.points.push_back({law, 0});
      }
      panel.series.push_back(std::move(series));
    }
    panel.series.push_back(std::move(none));
  }
  return {"residuals",
          "What the laws leave",
          "Means over the seeds, with the least and the largest; colours: "
          "parameters.",
          std::move(chart)};
}

}  // namespace

std::vector<NamedChart> loss_charts(const LossAnalysis& analysis) {
  std::vector<NamedChart> charts = {tokens_chart(analysis),
                                    flops_chart(analysis)};
  const auto has_iso = [](const std::vector<IsoFlop>& of_form) {
    return std::ranges::any_of(of_form, [](const IsoFlop& iso) {
      return iso.best || !iso.measured.empty();
    });
  };
  if (std::ranges::any_of(analysis.iso_flops, has_iso)) {
    charts.push_back(iso_chart(analysis));
  }
  auto residuals = residual_chart(analysis);
  if (!residuals.chart.panels.empty()) charts.push_back(std::move(residuals));
  return charts;
}

}  // namespace mumoe::study
