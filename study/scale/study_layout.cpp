#include "study/scale/study_layout.h"

#include <array>

#include "base/number.h"
#include "run/options.h"

namespace mumoe::study {
namespace {

constexpr int kMostRanks = 65'536;
constexpr const char* kModels = "models";

/// A key of a layout, that of a run, and what stands before its value in the
/// layout's name.
struct LayoutKey {
  const char* name;
  const char* key;
  const char* mark;
};
constexpr std::array<LayoutKey, 6> kKeys = {
    {{"dp", "parallel.dp", ""},
     {"tp", "parallel.tp", ""},
     {"plan", "parallel.plan", "-"},
     {"zero", "parallel.zero", "-zero"},
     {"micro_batch", "train.micro_batch", "-micro"},
     {"recompute", "train.recompute", "-recompute_"}}};

int ranks_of(const std::string& word, const std::string& where) {
  try {
    return parse_number(word, 1, kMostRanks);
  } catch (const InputError& error) {
    fail<InputError>("{} = {}: {}", where, word, error.what());
  }
}

std::vector<std::string> models_of(const JsonPlace& place,
                                   const std::vector<std::string>& models) {
  const auto wanted = place.words();
  for (const auto& model : wanted) {
    require(std::ranges::count(models, model) > 0,
            "{}: {}: no such model; expected {}",
            place.where,
            model,
            fmt::join(models, ", "));
  }
  return wanted;
}

/// `layout` with one more value.
StudyLayout with(StudyLayout layout,
                 const LayoutKey& key,
                 const std::string& word,
                 const std::string& where) {
  run::Draft().set(key.key, word, where, "");
  const std::string name = key.name;
  if (name == "dp") layout.dp = ranks_of(word, where);
  if (name == "tp") layout.tp = ranks_of(word, where);
  if (name == "plan" && layout.tp == 1) return layout;
  if (*key.mark != '\0') {
    layout.name += key.mark + word;
    layout.settings.emplace_back(key.key, word);
  }
  return layout;
}

}  // namespace

bool StudyLayout::is_for(const std::string& model) const {
  return models.empty() || std::ranges::count(models, model) > 0;
}

std::vector<StudyLayout> study_layouts(const JsonPlace& place,
                                       const std::vector<std::string>& models) {
  std::vector<std::string> names = {kModels};
  for (const LayoutKey& key : kKeys) names.emplace_back(key.name);
  place.require_keys(names);
  std::vector<StudyLayout> all(1);
  if (place.has(kModels)) {
    all[0].models = models_of(place.at(kModels), models);
  }
  for (const LayoutKey& key : kKeys) {
    if (!place.has(key.name)) continue;
    const JsonPlace values = place.at(key.name);
    std::vector<StudyLayout> longer;
    for (const StudyLayout& layout : all) {
      for (const auto& word : values.words()) {
        longer.push_back(with(layout, key, word, values.where));
      }
    }
    all = std::move(longer);
  }
  for (StudyLayout& layout : all) {
    require(layout.tp <= kMostRanks / layout.dp,
            "{}: {} x {} ranks: expected {} at most",
            place.where,
            layout.dp,
            layout.tp,
            kMostRanks);
    layout.name = fmt::format("{}x{}{}", layout.dp, layout.tp, layout.name);
    layout.settings.insert(layout.settings.begin(),
                           {{"parallel.dp", std::to_string(layout.dp)},
                            {"parallel.tp", std::to_string(layout.tp)}});
  }
  return all;
}

}  // namespace mumoe::study
