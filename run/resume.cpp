#include "run/resume.h"

#include <fmt/format.h>

#include "base/error.h"
#include "run/option_table.h"

namespace mumoe::run {

std::vector<std::string> replay_choices(
    Options& options,
    const std::map<std::string, std::string>& settings) {
  std::vector<std::string> reasons;
  const auto replay = [&](const char* name) {
    const Key* key = find_key(name);
    const auto stored = settings.find(name);
    if (key->get(options) == "auto" && stored != settings.end()) {
      try {
        key->set(options, stored->second);
      } catch (const InputError& error) {
        fail<InputError>("--train.resume: the checkpoint has {} = {}: {}",
                         name,
                         stored->second,
                         error.what());
      }
      reasons.push_back(fmt::format("{} auto: {}, as the checkpoint has it",
                                    key->name.substr(key->name.find('.') + 1),
                                    stored->second));
    }
  };
  replay("train.precision");
  replay("train.gemm");
  // A plan is chosen for a number of ranks.
  const auto tp = settings.find("parallel.tp");
  if (tp != settings.end() &&
      tp->second == std::to_string(options.parallel.tp)) {
    replay("parallel.plan");
  }
  return reasons;
}

std::map<std::string, std::string> settings_that_matter(
    const Options& options,
    const data::PreparedData& data) {
  std::map<std::string, std::string> kept;
  for (const auto& [name, value] : to_map(options)) {
    if (name.starts_with("model.") || name.starts_with("optimizer.") ||
        name.starts_with("schedule.") || name == "train.batch" ||
        name == "train.seed" || name == "train.precision" ||
        name == "train.gemm" || name == "train.mixing" ||
        name == "data.tokenizer") {
      kept[name] = value;
    }
  }
  kept["data.source (hash of train.bin)"] = data.train.hash;
  return kept;
}

void check_resumable(const std::map<std::string, std::string>& stored,
                     const std::map<std::string, std::string>& now,
                     const std::filesystem::path& checkpoint) {
  for (const auto& [name, value] : now) {
    const auto found = stored.find(name);
    require(found != stored.end() && found->second == value,
            "--train.resume: {} is {}, but the run in {} has {}; give the same "
            "value, or start a new run",
            name,
            value,
            checkpoint.string(),
            found == stored.end() ? "none" : found->second);
  }
}

}  // namespace mumoe::run
