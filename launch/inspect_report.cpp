#include "launch/inspect_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/number.h"
#include "launch/fitted_table.h"
#include "mumoe/safetensors.h"
#include "run/best_checkpoint.h"

namespace mumoe::launch {
namespace {

using Cells = FittedTable::Cells;
using run::CheckpointSurvey;

std::string size_of(std::int64_t bytes) {
  return size_text(static_cast<double>(bytes));
}

std::string shape_of(const std::vector<std::int64_t>& shape) {
  return shape.empty() ? "one" : fmt::format("{}", fmt::join(shape, "x"));
}

std::string number(double value) {
  return fmt::format("{:.3e}", value);
}

/// Norm, largest absolute value and count of what is not finite.
Cells cells_of(const std::optional<run::ValueFacts>& values,
               const std::string& otherwise) {
  if (!values) return {otherwise, "", ""};
  return {number(values->norm()),
          number(values->largest),
          values->non_finite == 0 ? "" : std::to_string(values->non_finite)};
}

Cells joined(Cells front, const Cells& back) {
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

Cells settings_of(const std::map<std::string, std::string>& settings) {
  Cells words;
  for (const auto& [key, value] : settings) {
    words.push_back(
        fmt::format("{} = {}", key, value.empty() ? "empty" : value));
  }
  return words;
}

/// The step, and what else the run has counted.
Cells state_of(const run::RunState& state) {
  Cells words = {std::to_string(state.step),
                 fmt::format("{} samples", state.samples)};
  if (state.taken) {
    words.push_back(fmt::format("their hash {:016x}", state.taken->chain));
  }
  if (state.skipped > 0) {
    words.push_back(fmt::format("{} updates left out", state.skipped));
  }
  if (state.spikes) {
    words.push_back(fmt::format("losses and norms of {} steps to tell a spike",
                                state.spikes->losses.size()));
  }
  return words;
}

std::string form_of(const CheckpointSurvey& survey) {
  if (survey.format == 0) return "not known: the manifest is damaged";
  if (survey.format == 1) return "1: one file, without checksums";
  const auto parity =
      std::ranges::count_if(survey.files, &run::SurveyedFile::parity);
  const auto ranks = std::ssize(survey.files) - parity;
  return fmt::format("2: a manifest and {} file{} of ranks, dp {} x tp {}{}",
                     ranks,
                     ranks == 1 ? "" : "s",
                     survey.mesh.dp,
                     survey.mesh.tp,
                     parity > 0 ? ", with parity" : "");
}

std::string checksums_of(const run::SurveyedFile& file, bool verified) {
  const char* then = file.rebuilt ? ", can be rebuilt" : "";
  if (file.lost) return file.damage + then;
  if (file.damaged_blocks > 0) {
    return fmt::format("{} of {} blocks damaged{}",
                       file.damaged_blocks,
                       file.blocks,
                       then);
  }
  if (file.blocks == 0) return "none";
  return fmt::format("{} {}", file.blocks, verified ? "hold" : "not read");
}

void put_files(FittedTable& table, const CheckpointSurvey& survey) {
  std::vector<Cells> rows;
  for (const auto& file : survey.files) {
    rows.push_back(
        {file.name, size_of(file.bytes), checksums_of(file, survey.verified)});
  }
  table.rows({"file", "size", "checksums"}, rows);
}

void put_tensors(FittedTable& table, const CheckpointSurvey& survey) {
  const std::string otherwise = survey.verified ? "damaged" : "";
  std::vector<Cells> rows;
  for (const auto& tensor : survey.tensors) {
    rows.push_back(
        joined({tensor.name,
                shape_of(tensor.shape),
                dtype_name(tensor.dtype),
                std::to_string(tensor.pieces),
                size_of(tensor.bytes)},
               cells_of(tensor.values,
                        tensor.damage.empty() ? otherwise : "damaged")));
  }
  table.rows({"tensor",
              "shape",
              "dtype",
              "pieces",
              "size",
              "norm",
              "max",
              "not finite"},
             rows);
  auto totals = survey.totals;
  if (totals.size() > 1) totals.push_back(survey.total());
  rows.clear();
  for (const auto& total : totals) {
    rows.push_back(joined({total.kind,
                           std::to_string(total.tensors),
                           std::to_string(total.elements),
                           size_of(total.bytes)},
                          cells_of(total.values, otherwise)));
  }
  table.rows(
      {"kind", "tensors", "elements", "size", "norm", "largest", "not finite"},
      rows);
}

/// The lines of damage, under a heading.
void put_damage(FittedTable& table, const std::vector<std::string>& damage) {
  for (const auto& line : damage) table.fact("damaged", line);
}

/// A line of metrics.jsonl: names and values.
Cells metrics_of(const std::string& line) {
  Cells words;
  if (line.empty()) return words;
  const nlohmann::json json = parse_json(line, "metrics.jsonl");
  for (const auto& [name, value] : json.items()) {
    words.push_back(fmt::format("{} {}",
                                name,
                                value.is_number_float()
                                    ? fmt::format("{:.6g}", value.get<double>())
                                : value.is_string() ? value.get<std::string>()
                                                    : to_text(value)));
  }
  return words;
}

Cells row_of(const CheckpointSurvey& survey, const std::string& what) {
  const bool whole = survey.damage.empty();
  return {survey.folder.filename().string(),
          survey.format == 0 ? "" : std::to_string(survey.state.step),
          survey.format == 0 ? "" : std::to_string(survey.state.samples),
          std::to_string(survey.files.size()),
          size_of(survey.bytes()),
          !survey.readable() ? "damaged"
          : !whole           ? "can be rebuilt"
          : survey.verified  ? "whole"
                             : "not read",
          what};
}

}  // namespace

std::string table_of(const CheckpointSurvey& survey, std::size_t columns) {
  FittedTable table(columns);
  table.fact("checkpoint", survey.folder.string());
  table.fact("format", form_of(survey));
  if (survey.format != 0) table.fact("step", state_of(survey.state));
  table.fact("settings", settings_of(survey.state.settings));
  put_damage(table, survey.damage);
  put_files(table, survey);
  put_tensors(table, survey);
  return table.text();
}

std::string table_of(const run::RunSurvey& survey, std::size_t columns) {
  FittedTable table(columns);
  table.fact("run", survey.folder.string());
  table.fact("newest",
             survey.newest ? survey.newest->filename().string() : "none");
  if (survey.best) {
    table.fact("best",
               survey.best_loss
                   ? Cells{fmt::format("step {}", survey.best->state.step),
                           fmt::format("val_loss {:.6g}", *survey.best_loss)}
                   : Cells{fmt::format("step {}", survey.best->state.step)});
  }
  table.fact("last step", metrics_of(survey.last_step));
  table.fact("settings", settings_of(survey.settings));
  for (const auto& note : survey.notes) table.fact("note", note);
  put_damage(table, survey.damage);
  std::vector<Cells> rows;
  for (const auto& each : survey.checkpoints) {
    rows.push_back(row_of(each, each.folder == survey.newest ? "newest" : ""));
  }
  if (survey.best) rows.push_back(row_of(*survey.best, ""));
  table.rows({"checkpoint", "step", "samples", "files", "size", "is", ""},
             rows);
  return table.text();
}

std::string table_of(const run::CheckpointDifference& difference,
                     std::size_t columns) {
  FittedTable table(columns);
  table.fact("checkpoint", difference.here.string());
  table.fact("step", state_of(difference.here_state));
  table.fact("other", difference.other.string());
  table.fact("step", state_of(difference.other_state));
  table.fact("equal",
             fmt::format("{} of {} tensors",
                         difference.equal(),
                         difference.tensors.size()));
  table.fact("only here", difference.only_here);
  table.fact("only there", difference.only_other);
  for (const auto& note : difference.notes) table.fact("note", note);
  put_damage(table, difference.damage());
  std::vector<Cells> rows;
  for (const auto& each : difference.settings) {
    rows.push_back(
        {each.key, each.here.value_or("none"), each.other.value_or("none")});
  }
  table.rows({"setting", "here", "there"}, rows);
  rows.clear();
  for (const auto& each : difference.tensors) {
    if (each.equal) {
      rows.push_back({each.name, "equal", "", "", ""});
    } else if (!each.damage.empty()) {
      rows.push_back({each.name, "damaged", "", "", ""});
    } else if (!each.form.empty() && !each.relative && each.largest == 0) {
      rows.push_back({each.name, "", "", "", each.form});
    } else {
      rows.push_back(
          {each.name,
           each.relative ? number(*each.relative) : "from zero",
           number(each.largest),
           each.non_finite == 0 ? "" : std::to_string(each.non_finite),
           each.form});
    }
  }
  table.rows({"tensor", "relative", "max", "not finite", "form"}, rows);
  return table.text();
}

}  // namespace mumoe::launch
