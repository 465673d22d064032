#include "study/loss/loss_analysis.h"

#include <algorithm>
#include <string>
#include <utility>

namespace mumoe::study {
namespace {

std::vector<std::string> forms_of(std::span<const LossPoint> points) {
  std::vector<std::string> forms;
  for (const LossPoint& point : points) {
    if (std::ranges::find(forms, point.form) == forms.end()) {
      forms.push_back(point.form);
    }
  }
  std::ranges::stable_partition(forms, [](auto& f) { return f == "dense"; });
  return forms;
}

}  // namespace

LossAnalysis analyse_losses(std::span<const LossPoint> given,
                            const DrawOptions& options) {
  LossAnalysis all;
  std::vector<LossPoint> points;
  for (const LossPoint& point : given) {
    (point.has_loss() ? points : all.left_out).push_back(point);
  }
  check_points(points);
  const auto curves = loss_curves(points);
  all.points = points.size();
  all.draws = options.draws;
  all.noise = seed_noise(curves);
  for (const std::string& form : forms_of(points)) {
    std::vector<LossPoint> own;
    std::ranges::copy_if(points, std::back_inserter(own), [&](auto& point) {
      return point.form == form;
    });
    auto own_curves = loss_curves(own);
    const auto factor = flops_factor(own_curves);
    all.forms.push_back(
        {form, std::move(own_curves), draw_laws(own, options), factor});
  }
  if (all.forms.size() > 1) all.together = draw_laws(points, options);
  const auto budgets = budgets_of(all.forms[0].curves);
  for (const FormLosses& form : all.forms) {
    auto& of_form = all.iso_flops.emplace_back();
    for (const double flops : budgets) {
      of_form.push_back(iso_flop(form.curves, form.law, form.factor, flops));
    }
    if (&form == &all.forms[0]) continue;
    all.comparisons.push_back(compare(all.forms[0], form, all.noise));
  }
  return all;
}

}  // namespace mumoe::study
