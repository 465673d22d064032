#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/number.h"
#include "run/options.h"

namespace mumoe::run {

/// A command line, read.
struct CommandLine {
  Options options;
  Origins origins;
  bool print_config = false;
  /// Where settings that the command line does not give come from: the file of
  /// --config, a run's own, or none.
  std::filesystem::path config;
  bool own_config = false;      ///< `config` is the run's own.
  bool default_recipe = false;  ///< They are those of the default recipe.
  /// `--NAME VALUE` of the subcommand's own, e.g. --prompt.
  std::map<std::string, std::string> own;
  /// The same of those that may stand there more than once, in order.
  std::map<std::string, std::vector<std::string>> repeated;

  /// The value of one of those.
  std::string text(const std::string& name, std::string otherwise) const;
  /// All values of one that may stand there more than once.
  std::vector<std::string> texts(const std::string& name) const;
  /// The same as a number from `least` to `most`. Throws `InputError`: option,
  /// value, what was expected.
  template <class Number>
  Number number(const std::string& name,
                Number otherwise,
                Number least = std::numeric_limits<Number>::lowest(),
                Number most = std::numeric_limits<Number>::max()) const;
};

/// An option that one subcommand has on top of the keys of a run.
struct OwnOption {
  std::string name;
  std::string value;  ///< What help calls its value; empty: it takes none.
  std::string help = {};
  std::string others = {};  ///< What other programs call it.
  bool repeats = false;     ///< May stand there more than once.
};

/// Reads `--config FILE` (INI, run/config_file.h) and then `--section.key
/// value`; the command line wins. A subcommand takes the keys of `section`
/// alone on its command line
/// ("*": of all; "": of none, and no --config), and its own options. Values
/// that depend on others (hidden width, vocabulary, length of the schedule) are
/// resolved. Throws `InputError`: an unknown key (with the nearest known one),
/// a value of the wrong type, where it stands.
CommandLine read_command_line(const std::vector<std::string>& arguments,
                              const std::string& section = "*",
                              const std::vector<OwnOption>& own = {});

/// The same for a run, which may have no --config: where it resumes, it takes
/// config.cfg of its train.out; where it branches, that of the run that it
/// branches from, but for where that is kept and how its schedule ends; else
/// the default recipe (configs/), which the program holds. Throws `InputError`
/// also where there are checkpoints to go on from and no config.cfg, and where
/// train.out names no folder.
CommandLine read_run(const std::vector<std::string>& arguments,
                     const std::vector<OwnOption>& own = {});

/// What `train` takes besides the keys.
std::vector<OwnOption> train_options();

template <class Number>
Number CommandLine::number(const std::string& name,
                           Number otherwise,
                           Number least,
                           Number most) const {
  const auto found = own.find(name);
  if (found == own.end()) return otherwise;
  try {
    return parse_number(found->second, least, most);
  } catch (const InputError& error) {
    fail<InputError>("--{} {}: {}", name, found->second, error.what());
  }
}

}  // namespace mumoe::run
