#include "study/scale/scale_study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "study/scale/json_place.h"
#include "study/scale/study_layout.h"
#include "study/scale/study_settings.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostSteps = 1'000'000;
constexpr int kMostRepeats = 1'000;
/// What a study decides itself, for every run of it.
constexpr std::array kOwn = {"parallel.dp",
                             "parallel.tp",
                             "train.steps",
                             "train.epochs",
                             "train.out",
                             "train.resume",
                             "train.max_minutes",
                             "train.eval_every",
                             "train.eval_windows",
                             "checkpoint.every",
                             "checkpoint.minutes",
                             "checkpoint.last",
                             "log.trace"};

std::string file_in(const JsonPlace& place) {
  place.require_that(
      place.value.is_string() && !place.value.get<std::string>().empty(),
      "a file, as the command line of mumoe train has it");
  return place.value.get<std::string>();
}

/// The study in the making.
class StudyReader {
 public:
  StudyReader(ScaleStudy& study, const CheckCell& check)
      : study_(study), check_(check) {}

  void read(const JsonPlace& root) {
    static constexpr std::array kKeys = {"name",
                                         "config",
                                         "settings",
                                         "models",
                                         "layouts",
                                         "scaling",
                                         "steps",
                                         "skip",
                                         "repeats",
                                         "minutes",
                                         "exposed"};
    root.require_keys(kKeys);
    read_head(root);
    read_scaling(root);
    if (root.has("settings")) {
      settings_ = settings_of(root.at("settings"), kOwn);
    }
    models_ = models_of(root, settings_, kOwn);
    read_layouts(root);
    for (const auto& model : models_) {
      for (const auto& layout : layouts_) {
        if (!layout.is_for(model.first)) continue;
        for (const auto& scaling : scaling_) add(model, layout, scaling);
      }
    }
    require(!study_.cells.empty(),
            "{}: no layout is for any model; expected at least one cell",
            study_.file.string());
    if (impossible_.empty()) return;
    fail<InputError>(
        "{}{}",
        impossible_.front(),
        impossible_.size() == 1
            ? ""
            : fmt::format(" (and {} more cells that cannot be run)",
                          impossible_.size() - 1));
  }

 private:
  void read_head(const JsonPlace& root) {
    study_.name =
        root.has("name") ? root.at("name").word() : study_.file.stem().string();
    if (root.has("config"))
      study_.config = std::filesystem::absolute(file_in(root.at("config")));
    if (root.has("steps")) {
      study_.steps = root.at("steps").count(1, kMostSteps);
    }
    if (root.has("skip")) {
      study_.skip = root.at("skip").count(0, kMostSteps);
    }
    if (root.has("repeats")) {
      study_.repeats =
          static_cast<int>(root.at("repeats").count(1, kMostRepeats));
    }
    if (root.has("exposed")) {
      const JsonPlace exposed = root.at("exposed");
      exposed.require_that(exposed.value.is_boolean(), "true or false");
      study_.exposed = exposed.value.get<bool>();
    }
    study_.minutes = minutes_of(root, study_.minutes);
  }

  void read_scaling(const JsonPlace& root) {
    if (!root.has("scaling")) return;
    const JsonPlace place = root.at("scaling");
    scaling_ = place.words();
    for (const auto& word : scaling_) {
      place.require_that(word == "strong" || word == "weak",
                         "strong, weak or both of them");
    }
  }

  void read_layouts(const JsonPlace& root) {
    require(root.has("layouts"),
            "{}layouts: is missing: expected a list of layouts such as "
            "{{\"dp\": 2, \"tp\": 1}}",
            root.where);
    const JsonPlace layouts = root.at("layouts");
    layouts.require_that(layouts.value.is_array() && !layouts.value.empty(),
                         "a list of at least one layout");
    std::vector<std::string> names;
    for (const auto& [name, unused] : models_) names.push_back(name);
    for (std::size_t i = 0; i < layouts.value.size(); ++i) {
      const auto some = study_layouts(layouts.at(i), names);
      layouts_.insert(layouts_.end(), some.begin(), some.end());
    }
  }

  void add(const std::pair<std::string, Settings>& model,
           const StudyLayout& layout,
           const std::string& scaling) {
    StudyCell cell{
        .name = fmt::format("{}/{}/{}", model.first, layout.name, scaling),
        .model = model.first,
        .scaling = scaling,
        .dp = layout.dp,
        .tp = layout.tp};
    // A plan where tp cuts nothing is no other layout.
    if (!cells_.insert(cell.name).second) return;
    try {
      resolve(cell, model.second, layout);
      if (check_) check_(cell);
    } catch (const InputError& error) {
      impossible_.push_back(fmt::format("{}: cell {}: {}",
                                        study_.file.string(),
                                        cell.name,
                                        error.what()));
    }
    study_.cells.push_back(std::move(cell));
  }

  /// The cell's settings, those of the study itself last.
  void resolve(StudyCell& cell,
               const Settings& model,
               const StudyLayout& layout) {
    run::Draft draft = draft_of(study_.config);
    auto take = [&](const Settings& settings) {
      apply(draft, settings, "the study");
      replace(cell.settings, settings);
    };
    take(settings_);
    take(model);
    take(layout.settings);
    const run::Options& options = draft.unresolved();
    if (cell.scaling == "weak") {
      const std::int64_t batch = options.trainer.batch;
      require(batch <= std::numeric_limits<std::int64_t>::max() / cell.ranks(),
              "train.batch = {}: too large for {} ranks",
              batch,
              cell.ranks());
      take({{"train.batch", std::to_string(batch * cell.ranks())}});
    }
    if (options.epochs != 0) take({{"train.epochs", "0"}});
    // Of the configuration: of what it says, what would end or slow a cell.
    if (options.trainer.max_minutes != 0) take({{"train.max_minutes", "0"}});
    if (!options.trace.empty()) take({{"log.trace", ""}});
    if (!options.branch.empty()) take({{"train.branch", ""}});
    require(options.parallel.backend != run::BackendChoice::null,
            "parallel.backend = null: has no run directory, which tells what "
            "was measured; expected auto, mpi or nccl");
    take({{"train.steps", std::to_string(study_.skip + study_.steps)},
          {"train.eval_every", "0"},
          {"train.eval_windows", "1"},
          {"train.resume", "no"},
          {"checkpoint.every", "0"},
          {"checkpoint.minutes", "0"},
          {"checkpoint.last", "no"}});
    cell.options = draft.resolved();
  }

  ScaleStudy& study_;
  const CheckCell& check_;
  Settings settings_;
  std::vector<std::string> scaling_ = {"strong", "weak"};
  std::vector<std::pair<std::string, Settings>> models_;
  std::vector<StudyLayout> layouts_;
  std::set<std::string> cells_;
  std::vector<std::string> impossible_;
};

}  // namespace

ScaleStudy read_study(const std::filesystem::path& file,
                      const CheckCell& check) {
  ScaleStudy study;
  study.file = file;
  study.text = read_file(file);
  const json object = parse_json(study.text, file.string());
  require(object.is_object(), "{}: expected an object, a study", file.string());
  StudyReader(study, check).read({object, file.string() + ": "});
  study.config_hash = config_hash(study.config);
  return study;
}

}  // namespace mumoe::study
