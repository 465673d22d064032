#include "run/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

/// Its name stands for the hash of the data.
constexpr const char* kDataSource = "data.source";

bool shapes_weights(const Key& key) {
  return key.name.starts_with("model.") && !shapes_no_weight(key.name);
}

/// Whether `key` says how a schedule goes on behind its warm-up, and so may be
/// otherwise in a branch.
bool ends_schedule(const Key& key) {
  return key.name.starts_with("schedule.") && key.name != "schedule.warmup";
}

const char* name_of_going_on(bool branch) {
  return branch ? "--train.branch" : "--train.resume";
}

/// What `stored` has instead of `auto`, or of what followed from others; or
/// nullptr.
const std::string* replayed_value(const Key& key,
                                  const Options& options,
                                  const Settings& stored) {
  const bool always = key.on_resume == OnResume::replayed;
  const bool at_same_tp = key.on_resume == OnResume::replayed_at_same_tp;
  const auto found = stored.find(key.name);
  if ((!always && !at_same_tp) || found == stored.end()) return nullptr;
  if (branches(options) && ends_schedule(key)) return nullptr;
  const auto tp = stored.find("parallel.tp");
  const bool same_tp =
      tp != stored.end() && tp->second == std::to_string(options.parallel.tp);
  if (at_same_tp && !same_tp) return nullptr;
  const bool open =
      options.followed.contains(key.name) || key.text.get(options) == "auto";
  return open && key.text.get(options) != found->second ? &found->second
                                                        : nullptr;
}

}  // namespace

bool branches(const Options& options) {
  return !options.branch.empty() && options.resume == Resume::no;
}

Settings settings_of(const Options& options) {
  Settings settings;
  for (const Key& key : option_table()) {
    if (key.on_resume == OnResume::free) continue;
    settings[key.name] = key.text.get(options);
  }
  return settings;
}

Settings settings_of(const Options& options, const DataFacts& data) {
  Settings settings = settings_of(options);
  settings[fmt::format("data.source (hash of {})", data.train.name)] =
      data.train.hash;
  return settings;
}

Replayed replay(Options options, const Settings& stored) {
  Replayed replayed{std::move(options), {}};
  for (const Key& key : option_table()) {
    const auto* value = replayed_value(key, replayed.options, stored);
    if (value == nullptr) continue;
    try {
      key.text.set(replayed.options, *value);
    } catch (const InputError& error) {
      fail<InputError>("{}: the checkpoint has {} = {}: {}",
                       name_of_going_on(branches(replayed.options)),
                       key.name,
                       *value,
                       error.what());
    }
    const bool followed = replayed.options.followed.contains(key.name);
    replayed.reasons.push_back(fmt::format(
        "{} auto: {}, as the checkpoint has it",
        followed ? key.name : key.name.substr(key.name.find('.') + 1),
        *value));
  }
  return replayed;
}

std::set<std::string> forced_keys(const Options& options) {
  std::set<std::string> forced;
  std::string_view rest = options.force;
  while (!rest.empty()) {
    const auto end = std::min(rest.find(','), rest.size());
    const std::string name(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const Key* key = find_key(name);
    require(key != nullptr, "train.force = {}: no key is called so", name);
    require(name == kDataSource || must_match(*key),
            "train.force = {}: may be changed without it",
            name);
    require(!shapes_weights(*key),
            "train.force = {}: the weights of the checkpoint are of another "
            "shape then; expected a key that shapes none",
            name);
    forced.insert(name);
  }
  return forced;
}

std::set<std::string> check_resumable(const Settings& stored,
                                      const Settings& now,
                                      const std::set<std::string>& forced,
                                      const std::filesystem::path& checkpoint,
                                      bool branch) {
  std::set<std::string> changed;
  const auto check = [&](const std::string& name,
                         const std::string& key,
                         const std::string& by_default,
                         const char* same) {
    const auto value = now.find(name);
    if (value == now.end()) return;
    const auto found = stored.find(name);
    // What a run knew nothing of was as it is by default.
    const std::string has = found != stored.end() ? found->second : by_default;
    if (has == value->second) return;
    const Key* row = find_key(key);
    const bool may = row != nullptr && !shapes_weights(*row);
    require(may && forced.contains(key),
            "{}: {} is {}, but the run in {} has {}; give the same value{}{}, "
            "or start a new run",
            name_of_going_on(branch),
            name,
            value->second,
            checkpoint.string(),
            has,
            same,
            may ? fmt::format(", or --train.force {}", key) : "");
    changed.insert(key);
  };
  // What may be `auto` follows from others, which are the ones to name.
  const Options open = Draft().unresolved();
  for (const bool follows : {false, true}) {
    for (const Key& key : option_table()) {
      if (branch && ends_schedule(key)) continue;
      if (must_match(key) && (key.text.get(open) == "auto") == follows) {
        const bool taken_over =
            key.on_resume == OnResume::replayed && key.text.has_auto;
        check(key.name,
              key.name,
              key.text.get(open),
              taken_over ? " or auto" : "");
      }
    }
  }
  // What is no key: the hash of the data.
  for (const auto& [name, value] : now) {
    if (find_key(name) == nullptr) check(name, kDataSource, "none", "");
  }
  return changed;
}

ScheduleConfig schedule_of(const Settings& stored) {
  Options options = Draft().unresolved();
  for (const Key& key : option_table()) {
    if (!key.text.member.starts_with("schedule.")) continue;
    const auto found = stored.find(key.name);
    if (found != stored.end()) key.text.set(options, found->second);
  }
  return options.schedule;
}

bool change_samples(const std::set<std::string>& keys) {
  return std::ranges::any_of(keys, [](const std::string& key) {
    return key.starts_with("data.") || key == "train.seed" ||
           key == "train.batch";
  });
}

std::vector<std::string> changed_settings(
    const std::map<std::string, std::string>& before,
    const std::map<std::string, std::string>& now) {
  static constexpr std::string_view kOfTheStart[] = {"train.out",
                                                     "train.resume",
                                                     "train.from",
                                                     "train.branch",
                                                     "train.force"};
  std::vector<std::string> changed;
  for (const auto& [key, value] : now) {
    const auto was = before.find(key);
    if (was == before.end() || was->second == value) continue;
    if (std::ranges::find(kOfTheStart, key) != std::end(kOfTheStart)) continue;
    changed.push_back(fmt::format("{} = {}, was {}", key, value, was->second));
  }
  return changed;
}

}  // namespace mumoe::run
