#include "study/loss/loss_result.h"

#include <concepts>
#include <type_traits>

#include "study/scale/json_members.h"

namespace mumoe::study {

/// All members of a result with their names, for reading as for writing.
template <class Result, class Visit>
requires std::same_as<std::remove_const_t<Result>, LossResult>
void visit_members(Result& r, const Visit& visit) {
  visit("study", r.study);
  visit("run", r.run);
  visit("model", r.model);
  visit("form", r.form);
  visit("seed", r.seed);
  visit("branched", r.branched);
  visit("budget", r.budget);
  visit("dp", r.dp);
  visit("tp", r.tp);
  visit("precision", r.precision);
  visit("parameters", r.parameters);
  visit("embeddings", r.embeddings);
  visit("flops_per_target", r.flops_per_target);
  visit("target", r.target);
  visit("first_step", r.first_step);
  visit("last_step", r.last_step);
  visit("targets", r.targets);
  visit("loss", r.loss);
  visit("seconds", r.seconds);
  visit("command", r.command);
  visit("config_hash", r.config_hash);
  visit("version", r.version);
  visit("finished", r.finished);
  visit("failed", r.failed);
  visit("code", r.code);
}

std::string to_json(const LossResult& result) {
  return line_of(result);
}

LossResult loss_from_json(std::string_view line, const std::string& where) {
  return value_of_line<LossResult>(line, where, "a run of a loss study");
}

std::vector<LossPoint> loss_points(const std::vector<LossResult>& results) {
  std::vector<LossPoint> points;
  for (const LossResult& result : results) {
    if (result.budget == 0 || !result.failed.empty()) continue;
    points.push_back({.model = result.model,
                      .form = result.form,
                      .parameters = static_cast<double>(result.parameters),
                      .tokens = static_cast<double>(result.targets),
                      .flops_per_token = result.flops_per_target,
                      .seed = result.seed,
                      .loss = result.loss});
  }
  return points;
}

}  // namespace mumoe::study
