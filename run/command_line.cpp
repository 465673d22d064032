#include "run/command_line.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <utility>

#include "base/error.h"
#include "run/checkpoint_folder.h"
#include "run/default_recipe.h"
#include "run/named_checkpoint.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr const char* kConfig = "config";
constexpr const char* kPrintConfig = "print-config";

/// What the command line of a subcommand has besides the keys of `section`.
std::vector<OwnOption> options_beside(const std::string& section,
                                      const std::vector<OwnOption>& own) {
  std::vector<OwnOption> all = own;
  for (const OwnOption& option : train_options()) {
    if (section == "*" || (option.name == kConfig && !section.empty())) {
      all.push_back(option);
    }
  }
  return all;
}

po::options_description describe(const std::string& section,
                                 const std::vector<OwnOption>& beside) {
  po::options_description description;
  auto add = description.add_options();
  for (const OwnOption& option : beside) {
    if (option.value.empty()) {
      add(option.name.c_str(), option.help.c_str());
    } else if (option.repeats) {
      add(option.name.c_str(),
          po::value<std::vector<std::string>>(),
          option.help.c_str());
    } else {
      add(option.name.c_str(), po::value<std::string>(), option.help.c_str());
    }
  }
  for (const Word& name : key_words(section)) {
    const Key& key = *find_key(name.name);
    auto* value = po::value<std::string>();
    if (key.text.is_switch) value->implicit_value("yes");
    add(key.name.c_str(), value, key.help.c_str());
  }
  return description;
}

[[noreturn]] void refuse_option(std::string name,
                                const std::string& section,
                                const std::vector<OwnOption>& beside) {
  name.erase(0, std::min(name.find_first_not_of('-'), name.size()));
  name = name.substr(0, name.find('='));
  require(section == "*" || find_key(name) == nullptr,
          "command line: unknown key {}; it is one of mumoe train",
          name);
  std::vector<Word> known = key_words(section);
  for (const OwnOption& option : beside) {
    known.push_back({option.name, option.others});
  }
  refuse_unknown(name, kCommandLine, known);
}

/// Splits off one option at the front of `words`: `--name=value`, also where
/// the value is empty, or `--name value`, whatever the value looks like but
/// another option of this command line. Boost's own rules refuse the first and
/// take the value of a switch only from `--switch=value`. What begins like an
/// option and is none is left to Boost.
std::vector<po::option> take_option(const po::options_description& known,
                                    std::vector<std::string>& words) {
  const auto find = [&](const std::string& word) {
    const bool named = word.starts_with("--") && word.size() > 2;
    const auto name = named ? word.substr(2, word.find('=') - 2) : "";
    // Boost finds all options by an empty name.
    return name.empty() ? nullptr : known.find_nothrow(name, /*approx=*/false);
  };
  const std::string word = words.front();
  const auto* description = find(word);
  require(word.starts_with("-"),
          "command line: {}: a word without its --key; expected --section.key "
          "value",
          word);
  if (description == nullptr) return {};
  po::option option;
  option.string_key = description->long_name();
  option.original_tokens = {word};
  const auto equals = word.find('=');
  words.erase(words.begin());
  if (equals != word.npos) {
    option.value = {word.substr(equals + 1)};
    return {option};
  }
  const auto& semantic = *description->semantic();
  const bool stands_alone = semantic.min_tokens() == 0;
  const bool followed = !words.empty() && find(words.front()) == nullptr &&
                        !(stands_alone && words.front().starts_with("--"));
  require(followed || stands_alone,
          "command line: {}: expected a value behind it{}",
          word,
          words.empty() ? "" : ", not " + words.front());
  if (followed && semantic.max_tokens() > 0) {
    option.value = {words.front()};
    words.erase(words.begin());
  }
  return {option};
}

po::variables_map parse(const std::vector<std::string>& arguments,
                        const std::string& section,
                        const std::vector<OwnOption>& own) {
  using Style = po::command_line_style::style_t;
  const auto beside = options_beside(section, own);
  const po::options_description known = describe(section, beside);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(arguments)
                  .options(known)
                  .extra_style_parser([&](std::vector<std::string>& words) {
                    return take_option(known, words);
                  })
                  .positional({})
                  .style(Style(po::command_line_style::unix_style &
                               ~po::command_line_style::allow_guessing))
                  .run(),
              values);
  } catch (const po::unknown_option& error) {
    refuse_option(error.get_option_name(), section, beside);
  } catch (const po::multiple_occurrences& error) {
    fail<InputError>(
        "command line: {} stands there more than once; expected it once",
        error.get_option_name());
  } catch (const po::error& error) {
    fail<InputError>("command line: {}", error.what());
  }
  return values;
}

/// What a run without --config starts from.
enum class Base { defaults, run };

/// The folder that `values` say to resume in, if they do.
fs::path folder_to_resume(const po::variables_map& values) {
  Draft told;
  for (const char* name : {"train.out", "train.resume"}) {
    if (values.count(name) == 0) continue;
    told.set(name, values[name].as<std::string>(), "command line", "");
  }
  const Options& options = told.unresolved();
  return options.resume == Resume::no ? fs::path() : options.trainer.out;
}

/// The run whose checkpoint, or which itself, `values` say to branch from:
/// where its config.cfg is. Empty: they do not.
fs::path run_to_branch(const po::variables_map& values) {
  constexpr const char* kBranch = "train.branch";
  const auto named =
      values.count(kBranch) == 0 ? "" : values[kBranch].as<std::string>();
  if (named.empty()) return {};
  // RUN, RUN/checkpoints/step_00000001 or a file in it.
  std::error_code error;
  fs::path folder = fs::absolute(fs::path(named) / "", error);
  for (int up = 0; up < 4; ++up) {
    folder = folder.parent_path();
    if (is_run(folder) && fs::exists(folder / "config.cfg", error)) {
      return folder.lexically_proximate(fs::current_path(error));
    }
  }
  fail<InputError>(
      "--train.branch {}: the config.cfg of its run is not there, and a "
      "checkpoint does not hold all settings; expected --config FILE",
      named);
}

/// Takes the settings of the run in `folder`, but for where it was kept and
/// began, and for how its schedule ends: that follows the branch's own steps.
void take_settings_to_branch(const fs::path& folder, Draft& draft) {
  draft.read_file(folder / "config.cfg");
  static constexpr std::pair<const char*, const char*> kOfItsOwn[] = {
      {"train.out", "auto"},
      {"train.resume", "no"},
      {"train.from", ""},
      {"train.branch", ""},
      {"schedule.steps", "auto"},
      {"schedule.decay", "auto"},
      {"log.trace", ""}};
  for (const auto& [key, value] : kOfItsOwn) {
    draft.set(key, value, "--train.branch", "train.branch");
  }
}

/// The settings of a run that has no --config.
void read_base(const po::variables_map& values,
               Draft& draft,
               CommandLine& line) {
  const fs::path folder = folder_to_resume(values);
  const fs::path own = folder / "config.cfg";
  std::error_code error;
  if (!folder.empty() && fs::exists(fs::symlink_status(own, error))) {
    line.config = own;
    line.own_config = true;
    require(draft.read_file(own) > 0,
            "{}: holds no settings; expected those of a run",
            own.string());
    return;
  }
  require(folder.empty() || !latest_checkpoint(folder / "checkpoints"),
          "--train.resume: {} is not there, and a checkpoint does not hold all "
          "settings; expected --config FILE",
          own.string());
  if (const fs::path from = run_to_branch(values); !from.empty()) {
    line.config = from / "config.cfg";
    take_settings_to_branch(from, draft);
    return;
  }
  line.default_recipe = true;
  draft.read_text(kDefaultRecipe, kDefaultRecipeName);
}

CommandLine read(const std::vector<std::string>& arguments,
                 const std::string& section,
                 const std::vector<OwnOption>& own,
                 Base base) {
  const po::variables_map values = parse(arguments, section, own);
  CommandLine line;
  Draft draft;
  line.print_config = values.count(kPrintConfig) > 0;
  if (values.count(kConfig) > 0) {
    line.config = values[kConfig].as<std::string>();
    draft.read_file(line.config);
  } else if (base == Base::run) {
    read_base(values, draft, line);
  }
  for (const auto& [name, value] : values) {
    if (name == kConfig || name == kPrintConfig) continue;
    if (const auto* all =
            boost::any_cast<std::vector<std::string>>(&value.value())) {
      line.repeated[name] = *all;
      continue;
    }
    const auto text = value.as<std::string>();
    const bool of_subcommand =
        std::ranges::find(own, name, &OwnOption::name) != own.end();
    if (find_key(name) != nullptr && !of_subcommand) {
      draft.set(name, text, kCommandLine, kCommandLine);
    } else {
      line.own[name] = text;
    }
  }
  line.options = draft.resolved();
  line.origins = draft.origins();
  return line;
}

}  // namespace

std::string CommandLine::text(const std::string& name,
                              std::string otherwise) const {
  const auto found = own.find(name);
  return found == own.end() ? std::move(otherwise) : found->second;
}

std::vector<std::string> CommandLine::texts(const std::string& name) const {
  const auto found = repeated.find(name);
  return found == repeated.end() ? std::vector<std::string>() : found->second;
}

CommandLine read_command_line(const std::vector<std::string>& arguments,
                              const std::string& section,
                              const std::vector<OwnOption>& own) {
  return read(arguments, section, own, Base::defaults);
}

CommandLine read_run(const std::vector<std::string>& arguments,
                     const std::vector<OwnOption>& own) {
  CommandLine line = read(arguments, "*", own, Base::run);
  const Options& options = line.options;
  require(options.keep != Keep::folder || !options.trainer.out.empty(),
          "train.out = : expected a folder, auto (runs/NAME-1 and so on), or "
          "none");
  require(options.keep != Keep::nothing || !options.trainer.writes_events(),
          "log.tensorboard = {}: event files have the name of a run directory, "
          "and train.out is none; expected no, or a run that is kept",
          options.trainer.tensorboard);
  return line;
}

std::vector<OwnOption> train_options() {
  return {{kConfig,
           "FILE",
           "a configuration; the command line wins over it",
           "config_file cfg conf config_path yaml"},
          {kPrintConfig,
           "",
           "shows every value and where it comes from, and stops",
           "show_config dump_config print_options dry_run"}};
}

}  // namespace mumoe::run
