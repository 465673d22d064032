#include "run/run_survey.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ranges>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "run/best_checkpoint.h"
#include "run/checkpoint_folder.h"
#include "run/options.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// Of metrics.jsonl, from its end: more than its last lines.
constexpr std::streamoff kTail = 1 << 18;

bool tells_of_a_step(const std::string& line) {
  try {
    const auto json = parse_json(line, "");
    return json.is_object() && json.contains("step") && json.contains("loss") &&
           !json.contains("event");
  } catch (const InputError&) {
    return false;  // the first one, cut
  }
}

std::string last_step_in(const fs::path& metrics) {
  std::ifstream in(metrics, std::ios::binary | std::ios::ate);
  if (!in) return {};
  const std::streamoff size = in.tellg();
  in.seekg(std::max(std::streamoff{0}, size - kTail));
  std::string last;
  // A line without its end is in the making.
  for (std::string line; std::getline(in, line) && !in.eof();) {
    if (tells_of_a_step(line)) last = std::move(line);
  }
  return last;
}

/// Nothing where it has been removed meanwhile.
std::optional<CheckpointSurvey> look_at(const fs::path& checkpoint,
                                        bool verify) {
  CheckpointSurvey survey = survey_checkpoint(checkpoint, verify);
  if (!survey.damage.empty() && !is_checkpoint(checkpoint)) return std::nullopt;
  return survey;
}

/// `read_best` would give back its name to one that a crash has caught.
std::optional<double> best_loss(const fs::path& best) {
  const fs::path file = best / kLossFile;
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  const auto json = parse_json(read_file(file), file.string());
  const bool known = json.is_object() && json.contains("val_loss") &&
                     json["val_loss"].is_number();
  require(known, "{}: expected a val_loss", file.string());
  return json["val_loss"].get<double>();
}

void look_at_best(RunSurvey& survey, bool verify) {
  const fs::path best = survey.folder / "checkpoints" / kBestName;
  if (!is_checkpoint(best)) return;
  survey.best = look_at(best, verify);
  try {
    survey.best_loss = best_loss(best);
  } catch (const InputError& error) {
    survey.damage.emplace_back(error.what());
  }
}

void take_settings(RunSurvey& survey) {
  const fs::path config = survey.folder / "config.cfg";
  std::error_code error;
  try {
    if (fs::exists(fs::symlink_status(config, error))) {
      survey.settings = to_map(read_config(config));
      return;
    }
    survey.notes.push_back(config.string() + ": is not there");
  } catch (const InputError& unreadable) {
    survey.notes.emplace_back(unreadable.what());
  }
  for (const auto& checkpoint : survey.checkpoints) {
    if (checkpoint.folder == survey.newest) {
      survey.settings = checkpoint.state.settings;
    }
  }
}

}  // namespace

RunSurvey survey_run(const fs::path& folder, bool verify) {
  RunSurvey survey{.folder = folder};
  for (const auto& file : list_checkpoints(folder / "checkpoints")) {
    auto found = look_at(file.path, verify);
    if (found) survey.checkpoints.push_back(std::move(*found));
  }
  for (const auto& found : survey.checkpoints) {
    if (found.readable()) survey.newest = found.folder;
  }
  look_at_best(survey, verify);
  const auto keep = [&](const CheckpointSurvey& found) {
    survey.damage.insert(survey.damage.end(),
                         found.damage.begin(),
                         found.damage.end());
  };
  for (const auto& found : survey.checkpoints) keep(found);
  if (survey.best) keep(*survey.best);
  survey.last_step = last_step_in(folder / "metrics.jsonl");
  take_settings(survey);
  return survey;
}

}  // namespace mumoe::run
