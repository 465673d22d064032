#include "study/scale/study_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "base/error.h"
#include "base/random.h"
#include "run/default_recipe.h"
#include "run/suggestions.h"

namespace mumoe::study {
namespace {

constexpr double kMostMinutes = 100'000;

}  // namespace

void require_known(const JsonPlace& root,
                   std::span<const char* const> keys,
                   const char* what) {
  std::vector<run::Word> known;
  for (const char* key : keys) known.push_back({key});
  for (const auto& [name, unused] : root.value.items()) {
    if (std::ranges::find(keys, std::string_view(name)) != keys.end()) continue;
    const std::string meant = run::did_you_mean(name, known);
    fail<InputError>(
        "{}{}: no such key of {}; {}",
        root.where,
        name,
        what,
        meant.empty() ? fmt::format("expected one of {}", fmt::join(keys, ", "))
                      : meant);
  }
}

void require_name(const std::string& name, const JsonPlace& place) {
  const bool plain =
      !name.empty() && name.size() <= 100 && name[0] != '.' &&
      std::ranges::all_of(name, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
      });
  require(plain,
          "{}: {}: expected a name of letters, digits, _, - and .",
          place.where,
          name.empty() ? "(empty)" : name);
}

Settings settings_of(const JsonPlace& place, std::span<const char* const> own) {
  place.require_that(place.value.is_object(), "an object of keys and values");
  Settings settings;
  for (const auto& [key, unused] : place.value.items()) {
    require(std::ranges::find(own, std::string_view(key)) == own.end(),
            "{}: {}: the study sets it for each run; expected another key",
            place.where,
            key);
    settings.emplace_back(key, place.at(key).word());
  }
  return settings;
}

std::vector<std::pair<std::string, Settings>> models_of(
    const JsonPlace& root,
    const Settings& common,
    std::span<const char* const> own) {
  require(root.has("models"),
          "{}models: is missing: expected {{name: {{key of a run: value}}}}",
          root.where);
  const JsonPlace place = root.at("models");
  place.require_that(place.value.is_object() && !place.value.empty(),
                     "an object with at least one model");
  std::vector<std::pair<std::string, Settings>> models;
  for (const auto& [name, unused] : place.value.items()) {
    require_name(name, place);
    models.emplace_back(name, settings_of(place.at(name), own));
    // A key that nothing has is told where it stands.
    run::Draft draft;
    apply(draft, common, root.where + "settings");
    apply(draft, models.back().second, place.at(name).where);
  }
  return models;
}

double minutes_of(const JsonPlace& root, double otherwise) {
  if (!root.has("minutes")) return otherwise;
  const JsonPlace place = root.at("minutes");
  const double minutes =
      place.value.is_number() ? place.value.get<double>() : 0;
  place.require_that(minutes > 0 && minutes <= kMostMinutes,
                     "the minutes that one run may take, more than 0");
  return minutes;
}

run::Draft draft_of(const std::filesystem::path& config) {
  run::Draft draft;
  if (config.empty()) {
    draft.read_text(run::kDefaultRecipe, run::kDefaultRecipeName);
  } else {
    draft.read_file(config);
  }
  return draft;
}

std::string config_hash(const std::filesystem::path& config) {
  const auto plain = run::to_map(run::Options());
  std::string text;
  for (const auto& [key, value] : run::to_map(draft_of(config).unresolved())) {
    if (const auto found = plain.find(key);
        found == plain.end() || found->second != value) {
      text += key + " = " + value + "\n";
    }
  }
  return fmt::format("{:016x}", hash_name(text));
}

void refuse_config(const std::filesystem::path& config,
                   const std::string& run) {
  fail<InputError>(
      "{}: its settings are others than those that {} was run with; expected "
      "these again, or another --out",
      config.empty() ? run::kDefaultRecipeName : config.string(),
      run);
}

void apply(run::Draft& draft,
           const Settings& settings,
           const std::string& where) {
  for (const auto& [key, value] : settings) {
    draft.set(key, value, where, where);
  }
}

void replace(Settings& settings, const Settings& more) {
  for (const auto& [key, value] : more) {
    std::erase_if(settings,
                  [&](const auto& setting) { return setting.first == key; });
    settings.emplace_back(key, value);
  }
}

}  // namespace mumoe::study
