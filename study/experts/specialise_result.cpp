#include "study/experts/specialise_result.h"

#include <concepts>
#include <type_traits>

#include "study/scale/json_members.h"

namespace mumoe::study {

/// All members of a result with their names, for reading as for writing.
template <class Result, class Visit>
requires std::same_as<std::remove_const_t<Result>, SpecialiseResult>
void visit_members(Result& r, const Visit& visit) {
  visit("study", r.study);
  visit("run", r.run);
  visit("head", r.head);
  visit("experts", r.experts);
  visit("gate", r.gate);
  visit("norm", r.norm);
  visit("seed", r.seed);
  visit("dp", r.dp);
  visit("tp", r.tp);
  visit("parameters", r.parameters);
  visit("steps", r.steps);
  visit("accuracy", r.accuracy);
  visit("loss", r.loss);
  visit("polysemanticity", r.polysemanticity);
  visit("low", r.low);
  visit("high", r.high);
  visit("skipped", r.skipped);
  visit("dead", r.dead);
  visit("train_s", r.train_s);
  visit("study_s", r.study_s);
  visit("command", r.command);
  visit("version", r.version);
  visit("finished", r.finished);
  visit("failed", r.failed);
  visit("code", r.code);
}

std::string to_json(const SpecialiseResult& result) {
  return line_of(result);
}

SpecialiseResult specialise_from_json(std::string_view line,
                                      const std::string& where) {
  return value_of_line<SpecialiseResult>(line,
                                         where,
                                         "a head of a study of specialisation");
}

}  // namespace mumoe::study
