#include "study/experts/specialise_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/families.h"
#include "model/head.h"
#include "study/experts/focus.h"
#include "study/scale/json_place.h"
#include "study/scale/run_facts.h"
#include "study/scale/study_layout.h"
#include "study/scale/study_settings.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostExperts = 1 << 20;
constexpr std::int64_t kMostSeed = 1'000'000'000;
constexpr double kMinutes = 10;
constexpr std::array kKeys = {"name",
                              "config",
                              "settings",
                              "features",
                              "layout",
                              "head",
                              "experts",
                              "rank",
                              "gates",
                              "norms",
                              "beside",
                              "seeds",
                              "damage",
                              "minutes"};
/// What a study decides itself, for every run of it.
constexpr std::array kOwn = {"parallel.dp",
                             "parallel.tp",
                             "model.family",
                             "model.head",
                             "model.head_parameters",
                             "model.experts",
                             "model.rank",
                             "model.gate",
                             "model.gate_norm",
                             "train.seed",
                             "train.out",
                             "train.resume",
                             "train.branch",
                             "train.eval_every"};

std::vector<std::string> words_of(const JsonPlace& root,
                                  const char* key,
                                  std::vector<std::string> otherwise) {
  return root.has(key) ? root.at(key).words() : std::move(otherwise);
}

/// A list of whole numbers, each once.
std::vector<std::int64_t> counts_of(const JsonPlace& place,
                                    std::int64_t least,
                                    std::int64_t most) {
  place.require_that(place.value.is_array() && !place.value.empty(),
                     "a list of at least one whole number");
  std::vector<std::int64_t> counts;
  for (std::size_t i = 0; i < place.value.size(); ++i) {
    const std::int64_t count = place.at(i).count(least, most);
    place.at(i).require_that(std::ranges::find(counts, count) == counts.end(),
                             "a number that does not stand there before");
    counts.push_back(count);
  }
  return counts;
}

/// The study in the making.
class Reader {
 public:
  Reader(SpecialiseStudy& study, const CheckCell& check)
      : study_(study), check_(check) {}

  void read(const JsonPlace& root, const std::string& features) {
    require_known(root, kKeys, "a study of specialisation");
    read_head(root);
    if (root.has("settings")) {
      settings_ = settings_of(root.at("settings"), kOwn);
    }
    replace(settings_, {{"model.family", "head"}});
    const std::string folder = !features.empty() ? features
                               : root.has("features")
                                   ? root.at("features").word()
                                   : "";
    if (!folder.empty()) replace(settings_, {{"data.source", folder}});
    if (root.has("layout")) read_layout(root.at("layout"));
    replace(settings_, layout_.settings);
    read_cells(root);
  }

 private:
  void read_head(const JsonPlace& root) {
    ScaleStudy& common = study_.common;
    common.name =
        root.has("name") ? root.at("name").word() : common.file.stem().string();
    if (root.has("config")) {
      common.config = std::filesystem::absolute(root.at("config").word());
    }
    common.minutes = minutes_of(root, kMinutes);
    if (!root.has("damage")) return;
    study_.damage = root.at("damage").word();
    root.at("damage").require_that(
        study_.damage == "change" || study_.damage == "drop",
        "change or drop");
  }

  void read_layout(const JsonPlace& place) {
    place.require_that(place.value.is_object() && !place.has("models"),
                       "one layout of all heads, such as {\"dp\": 2}");
    const auto layouts = study_layouts(place, {});
    place.require_that(layouts.size() == 1,
                       "one layout: a value, not a list of them");
    layout_ = layouts.front();
  }

  void read_cells(const JsonPlace& root) {
    for (const char* key : {"experts", "rank"}) {
      require(root.has(key),
              "{}{}: is missing: expected {}",
              root.where,
              key,
              std::string(key) == "rank"
                  ? "the rank of the head with most experts"
                  : "numbers of experts, such as [8, 64, 512]");
    }
    const auto experts = counts_of(root.at("experts"), 1, kMostExperts);
    const auto rank = root.at("rank").count(1, kMostExperts);
    head_ = root.has("head") ? root.at("head").word() : "cp";
    const auto seeds = root.has("seeds")
                           ? counts_of(root.at("seeds"), 0, kMostSeed)
                           : std::vector<std::int64_t>{1};
    study_.budget = budget_of(std::ranges::max(experts), rank);
    const auto gates = words_of(root, "gates", {"entmax15", "softmax"});
    const auto norms = words_of(root, "norms", {"batch"});
    const auto beside = words_of(root, "beside", {"linear", "high_rank"});
    for (const std::string& head : beside) {
      require(head == "linear" || head == "high_rank",
              "{}beside: {}: expected linear, high_rank, or both",
              root.where,
              head);
    }
    // Seed by seed: what is there after an interruption is a whole curve.
    for (const std::int64_t seed : seeds) {
      for (const std::string& head : beside) {
        add({.cell = {}, .head = head, .seed = seed});
      }
      for (const std::string& norm : norms) {
        for (const std::string& gate : gates) {
          for (const std::int64_t count : experts) {
            add({.cell = {},
                 .head = head_,
                 .experts = count,
                 .gate = gate,
                 .norm = norm,
                 .seed = seed});
          }
        }
      }
    }
  }

  run::Options resolved(const Settings& settings) const {
    run::Draft draft = draft_of(study_.common.config);
    apply(draft, settings, "the study");
    return draft.resolved();
  }

  /// `what` is said of a head of the study.
  template <class What>
  auto of_head(const std::string& name, const What& what) const {
    try {
      return what();
    } catch (const InputError& error) {
      fail<InputError>("{}: {}: {}",
                       study_.common.file.string(),
                       name,
                       error.what());
    }
  }

  std::int64_t budget_of(std::int64_t experts, std::int64_t rank) const {
    const std::string name = fmt::format("{}-{}", head_, experts);
    return of_head(name, [&] {
      Settings settings = settings_;
      replace(settings,
              {{"model.head", head_},
               {"model.experts", std::to_string(experts)},
               {"model.rank", std::to_string(rank)}});
      const run::Options options = resolved(settings);
      require(options.model.head == model::HeadKind::mixture,
              "head = {}: expected cp, tr, tt or tucker",
              head_);
      return model::head_parameters(
          model::head_shape(options.model, options.model.features));
    });
  }

  void add(SpecialiseCell made) {
    StudyCell& cell = made.cell;
    const std::string model = made.experts == 0 ? made.head
                                                : fmt::format("{}-{}-{}-{}",
                                                              made.head,
                                                              made.experts,
                                                              made.gate,
                                                              made.norm);
    cell.name = fmt::format("{}/seed-{}", model, made.seed);
    cell.model = model;
    cell.scaling = "specialise";
    cell.dp = layout_.dp;
    cell.tp = layout_.tp;
    cell.settings = settings_;
    replace(cell.settings, {{"model.head", made.head}});
    if (made.head != "linear") {
      replace(cell.settings,
              {{"model.head_parameters", std::to_string(study_.budget)}});
    }
    if (made.experts > 0) {
      replace(cell.settings,
              {{"model.experts", std::to_string(made.experts)},
               {"model.rank", "auto"},
               {"model.gate", made.gate},
               {"model.gate_norm", made.norm}});
    }
    replace(
        cell.settings,
        {{"train.seed", std::to_string(made.seed)}, {"train.eval_every", "0"}});
    of_head(cell.name, [&] {
      cell.options = resolved(cell.settings);
      made.parameters = count_model(cell.options).parameters;
      if (check_) check_(cell);
    });
    study_.cells.push_back(std::move(made));
  }

  SpecialiseStudy& study_;
  const CheckCell& check_;
  Settings settings_;
  StudyLayout layout_{.settings = {{"parallel.dp", "1"}, {"parallel.tp", "1"}}};
  std::string head_;
};

}  // namespace

SpecialiseStudy read_specialise_study(const std::filesystem::path& file,
                                      const std::string& features,
                                      const CheckCell& check) {
  SpecialiseStudy study;
  study.common.file = file;
  study.common.text = read_file(file);
  const json object = parse_json(study.common.text, file.string());
  require(object.is_object(), "{}: expected an object, a study", file.string());
  Reader(study, check).read({object, file.string() + ": "}, features);
  return study;
}

}  // namespace mumoe::study
