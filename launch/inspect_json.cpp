#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "launch/inspect_report.h"
#include "mumoe/safetensors.h"

namespace mumoe::launch {
namespace {

using nlohmann::json;
using run::CheckpointSurvey;

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

void add(json& object, const std::optional<run::ValueFacts>& values) {
  object["norm"] = values ? json(values->norm()) : json();
  object["largest"] = values ? json(values->largest) : json();
  object["non_finite"] = values ? json(values->non_finite) : json();
}

json to_json(const run::RunState& state) {
  json object = {{"step", state.step},
                 {"samples", state.samples},
                 {"samples_hash", nullptr},
                 {"skipped", state.skipped},
                 {"settings", state.settings}};
  if (state.taken) {
    object["samples_hash"] = fmt::format("{:016x}", state.taken->chain);
  }
  if (state.spikes) object["spike_steps"] = state.spikes->losses.size();
  return object;
}

json to_json(const run::KindTotal& total) {
  json object = {{"kind", total.kind},
                 {"tensors", total.tensors},
                 {"elements", total.elements},
                 {"bytes", total.bytes}};
  add(object, total.values);
  return object;
}

json to_json(const run::SurveyedTensor& tensor) {
  json object = {{"name", tensor.name},
                 {"shape", tensor.shape},
                 {"dtype", dtype_name(tensor.dtype)},
                 {"pieces", tensor.pieces},
                 {"files", tensor.files},
                 {"bytes", tensor.bytes},
                 {"damage", tensor.damage}};
  add(object, tensor.values);
  return object;
}

json to_json(const run::SurveyedFile& file) {
  return {{"name", file.name},
          {"bytes", file.bytes},
          {"blocks", file.blocks},
          {"parity", file.parity},
          {"damaged_blocks", file.damaged_blocks},
          {"lost", file.lost},
          {"rebuilt", file.rebuilt},
          {"damage", file.damage}};
}

json to_json(const run::SettingDifference& setting) {
  return {{"key", setting.key},
          {"here", or_null(setting.here)},
          {"other", or_null(setting.other)}};
}

json to_json(const run::TensorDifference& tensor) {
  return {{"name", tensor.name},
          {"equal", tensor.equal},
          {"relative", or_null(tensor.relative)},
          {"largest", tensor.largest},
          {"non_finite", tensor.non_finite},
          {"form", tensor.form},
          {"damage", tensor.damage}};
}

template <class T>
json list_of(const std::vector<T>& all) {
  json list = json::array();
  for (const T& each : all) list.push_back(to_json(each));
  return list;
}

/// Of one among others: without its tensors.
json summary_of(const CheckpointSurvey& survey) {
  json object = {{"checkpoint", survey.folder.string()},
                 {"format", survey.format},
                 {"bytes", survey.bytes()},
                 {"verified", survey.verified},
                 {"whole", survey.damage.empty()},
                 {"readable", survey.readable()},
                 {"damage", survey.damage},
                 {"mesh", nullptr},
                 {"files", list_of(survey.files)},
                 {"totals", list_of(survey.totals)}};
  if (survey.format == 2) {
    object["mesh"] = {{"dp", survey.mesh.dp}, {"tp", survey.mesh.tp}};
  }
  if (survey.format != 0) object.update(to_json(survey.state));
  return object;
}

std::string text_of(const json& object) {
  return to_text(object, 2) + "\n";
}

}  // namespace

std::string json_of(const CheckpointSurvey& survey) {
  json object = summary_of(survey);
  object["tensors"] = list_of(survey.tensors);
  return text_of(object);
}

std::string json_of(const run::RunSurvey& survey) {
  json checkpoints = json::array();
  for (const auto& each : survey.checkpoints) {
    checkpoints.push_back(summary_of(each));
  }
  json object = {{"run", survey.folder.string()},
                 {"checkpoints", checkpoints},
                 {"newest", nullptr},
                 {"best", nullptr},
                 {"best_loss", or_null(survey.best_loss)},
                 {"last_step", nullptr},
                 {"settings", survey.settings},
                 {"notes", survey.notes},
                 {"damage", survey.damage}};
  if (survey.newest) object["newest"] = survey.newest->filename().string();
  if (survey.best) object["best"] = summary_of(*survey.best);
  if (!survey.last_step.empty()) {
    object["last_step"] = parse_json(survey.last_step, "metrics.jsonl");
  }
  return text_of(object);
}

std::string json_of(const run::CheckpointDifference& difference) {
  json here = to_json(difference.here_state);
  json other = to_json(difference.other_state);
  here["checkpoint"] = difference.here.string();
  other["checkpoint"] = difference.other.string();
  return text_of({{"here", here},
                  {"other", other},
                  {"settings", list_of(difference.settings)},
                  {"only_here", difference.only_here},
                  {"only_other", difference.only_other},
                  {"equal", difference.equal()},
                  {"tensors", list_of(difference.tensors)},
                  {"notes", difference.notes},
                  {"damage", difference.damage()}});
}

}  // namespace mumoe::launch
