#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "study/loss/loss_analysis.h"
#include "study/report/loss_report.h"
#include "study/report/loss_tables.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

json number(double value) {
  return std::isfinite(value) ? json(value) : json();
}

json to_json(const std::optional<Range>& range) {
  if (!range) return {};
  return json::array({number(range->low), number(range->high)});
}

/// A value of a law with its interval.
json of_law(const DrawnLaw& law,
            const std::function<double(const LossLaw&)>& of) {
  return {{"value", number(of(*law.fit.law))},
          {"interval", to_json(law.range(of))}};
}

json to_json(const DrawnLaw& law) {
  if (!law.fit.law) return {{"law", json()}, {"why_not", law.fit.why_not}};
  const auto of = [&](double LossLaw::*member) {
    return of_law(law, [member](const LossLaw& each) { return each.*member; });
  };
  return {{"law",
           {{"E", of(&LossLaw::E)},
            {"A", of(&LossLaw::A)},
            {"alpha", of(&LossLaw::alpha)},
            {"B", of(&LossLaw::B)},
            {"beta", of(&LossLaw::beta)}}},
          {"size_exponent",
           of_law(law, [](auto& each) { return each.size_exponent(); })},
          {"token_exponent",
           of_law(law, [](auto& each) { return each.token_exponent(); })},
          {"scatter", law.scatter},
          {"draws", law.draws.size()},
          {"failed_draws", law.failed}};
}

json to_json(const std::optional<Optimum>& at) {
  if (!at) return {};
  return {{"parameters", number(at->parameters)},
          {"tokens", number(at->tokens)},
          {"loss", number(at->loss)}};
}

json to_json(const IsoFlop& iso) {
  json measured = json::array();
  for (const IsoMeasured& each : iso.measured) {
    measured.push_back({{"model", each.model},
                        {"parameters", each.parameters},
                        {"loss", each.loss}});
  }
  return {{"flops", iso.flops},
          {"optimum", to_json(iso.best)},
          {"parameters_interval", to_json(iso.sizes)},
          {"tokens_interval", to_json(iso.tokens)},
          {"among_measured_sizes", iso.measured_size},
          {"measured", std::move(measured)},
          {"parabola_minimum", to_json(iso.found)}};
}

json to_json(const FormComparison& comparison) {
  json cells = json::array(), multipliers = json::array();
  for (const LossDifference& cell : comparison.cells) {
    cells.push_back({{"model", cell.model},
                     {"parameters", cell.parameters},
                     {"tokens", cell.tokens},
                     {"loss", cell.loss},
                     {"base_loss", cell.base_loss},
                     {"difference", cell.difference()},
                     {"interval", to_json(cell.range)},
                     {"by_laws", cell.by_laws ? json(*cell.by_laws) : json()},
                     {"by_laws_interval", to_json(cell.laws_range)}});
  }
  for (const ComputeMultiplier& each : comparison.multipliers) {
    multipliers.push_back({{"flops", each.flops},
                           {"times", number(each.times)},
                           {"interval", to_json(each.range)}});
  }
  return {{"base", comparison.base},
          {"form", comparison.form},
          {"mean_log_ratio", comparison.mean ? json(*comparison.mean) : json()},
          {"mean_interval", to_json(comparison.mean_range)},
          {"cells", std::move(cells)},
          {"compute_multipliers", std::move(multipliers)}};
}

json to_json(const LossPoint& point) {
  return {{"model", point.model},
          {"form", point.form},
          {"parameters", point.parameters},
          {"tokens", point.tokens},
          {"flops_per_token", point.flops_per_token},
          {"seed", point.seed},
          {"loss", number(point.loss)}};
}

}  // namespace

std::string loss_json(std::span<const LossPoint> points,
                      const DrawOptions& draws) {
  const auto analysis = analyse_losses(points, draws);
  json all = {
      {"interval", 0.9},
      {"seed_deviation",
       analysis.noise.degrees > 0 ? json(analysis.noise.deviation) : json()},
      {"forms", json::array()},
      {"comparisons", json::array()},
      {"notes", loss_notes(analysis)},
      {"points", json::array()},
      {"left_out", json::array()}};
  for (std::size_t i = 0; i < analysis.forms.size(); ++i) {
    const FormLosses& form = analysis.forms[i];
    json object = to_json(form.law);
    object["form"] = form.form;
    object["flops_factor"] = form.factor.value;
    object["iso_flops"] = json::array();
    for (const IsoFlop& iso : analysis.iso_flops[i]) {
      object["iso_flops"].push_back(to_json(iso));
    }
    all["forms"].push_back(std::move(object));
  }
  if (analysis.together) all["all_forms"] = to_json(*analysis.together);
  for (const FormComparison& comparison : analysis.comparisons) {
    all["comparisons"].push_back(to_json(comparison));
  }
  for (const LossPoint& point : points) {
    all[point.has_loss() ? "points" : "left_out"].push_back(to_json(point));
  }
  return to_text(all, 1) + "\n";
}

}  // namespace mumoe::study
