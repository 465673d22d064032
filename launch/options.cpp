#include "launch/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <fstream>

#include "base/error.h"
#include "launch/option_table.h"
#include "mumoe/rank_matching.h"

namespace mumoe::launch {
namespace {

namespace po = boost::program_options;

/// What a subcommand's command line may hold, beside its own options.
bool takes(const std::string& section, const Key& key) {
  return section == "*" ||
         (!section.empty() && key.name.starts_with(section + "."));
}

[[noreturn]] void refuse_unknown(const std::string& name,
                                 const std::string& where,
                                 const std::vector<std::string>& known) {
  fail<InputError>(where,
                   ": unknown key ",
                   name,
                   "; did you mean ",
                   nearest(known, name),
                   "?");
}

std::vector<std::string> key_names(const std::string& section) {
  std::vector<std::string> names;
  for (const Key& key : option_table()) {
    if (takes(section, key)) names.push_back(key.name);
  }
  return names;
}

void assign(Options& options,
            Origins& origins,
            const std::string& name,
            const std::string& value,
            const std::string& origin) {
  const Key* key = find_key(name);
  if (key == nullptr) refuse_unknown(name, origin, key_names("*"));
  try {
    key->set(options, value);
  } catch (const InputError& error) {
    fail<InputError>(origin, ": ", name, " = ", value, ": ", error.what());
  }
  origins[name] = origin;
}

void read_file_into(const std::filesystem::path& file,
                    Options& options,
                    Origins& origins) {
  std::ifstream in(file);
  require(in.good() && !std::filesystem::is_directory(file),
          file.string(),
          ": cannot read this configuration");
  try {
    const auto parsed = po::parse_config_file(in,
                                              po::options_description(),
                                              /*allow_unregistered=*/true);
    for (const auto& option : parsed.options) {
      assign(options,
             origins,
             option.string_key,
             option.value.empty() ? "" : option.value.front(),
             file.string());
    }
  } catch (const po::error& error) {
    fail<InputError>(file.string(),
                     ": ",
                     error.what(),
                     "; expected [section] and key = value lines");
  }
}

/// Turns model.rank into ranks.
void resolve_ranks(Options& o) {
  model::Gpt2Config& m = o.model;
  if (m.mlp == model::MlpKind::dense || !m.ranks.empty()) return;
  const BlockShape block = m.block().shape();
  try {
    if (o.rank == "auto" || o.rank == "paper") {
      m.ranks = match_ranks(
          block,
          {.rule = o.rank == "auto" ? RankRule::automatic : RankRule::paper,
           .budget = dense_mlp_parameters(m.width,
                                          m.hidden,
                                          m.width,
                                          m.bias,
                                          /*layer_norm=*/true),
           .family = PaperFamily::gpt2});
      return;
    }
  } catch (const InputError& error) {
    fail<InputError>("model.rank = ", o.rank, ": ", error.what());
  }
  const auto given = parse_list(o.rank);
  m.ranks = given.size() == 1 ? ranks_from_free(block, given[0]) : given;
}

/// Settles what depends on other settings.
void resolve(Options& o) {
  if (o.model.hidden == 0) o.model.hidden = 4 * o.model.width;
  if (o.model.vocab == 0) o.model.vocab = o.tokenizer == "gpt2" ? 50304 : 256;
  if (o.schedule.steps == 0) o.schedule.steps = o.trainer.steps;
  o.model.validate_but_ranks();
  resolve_ranks(o);
  o.model.validate();
  o.trainer.validate();
  o.schedule.validate();
  o.optimizer.validate();
  require(o.parallel.deadline >= 1 && o.parallel.deadline <= 1e6,
          "parallel.deadline = ",
          o.parallel.deadline,
          ": expected 1 to 1000000 seconds");
  require(o.parallel.zero == 0 || o.parallel.zero == 1,
          "parallel.zero = ",
          o.parallel.zero,
          ": expected 0 or 1");
  require(o.parallel.check_replicas >= 0,
          "parallel.check_replicas = ",
          o.parallel.check_replicas,
          ": expected at least 0");
}

/// The defaults of what is resolved are `auto`.
Options unresolved_defaults() {
  Options options;
  options.model.hidden = 0;
  options.model.vocab = 0;
  options.model.ranks.clear();
  options.schedule.steps = 0;
  return options;
}

po::options_description describe(const std::string& section,
                                 const std::vector<OwnOption>& own) {
  po::options_description description;
  auto add = description.add_options();
  if (!section.empty()) {
    add("config", po::value<std::string>(), "configuration file");
  }
  if (section == "*") {
    add("print-config", "print the resolved configuration");
  }
  for (const OwnOption& option : own) {
    add(option.name.c_str(), po::value<std::string>(), option.help.c_str());
  }
  for (const Key& key : option_table()) {
    if (!takes(section, key)) continue;
    auto* value = po::value<std::string>();
    if (key.is_switch) value->implicit_value("yes");
    add(key.name.c_str(), value, key.help.c_str());
  }
  return description;
}

/// Boost takes the value of a switch only from `--key=value`.
std::vector<std::string> join_switches(std::vector<std::string> arguments) {
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (!arguments[i].starts_with("--")) continue;
    const Key* key = find_key(arguments[i].substr(2));
    if (key != nullptr && key->is_switch &&
        !arguments[i + 1].starts_with("--")) {
      arguments[i] += "=" + arguments[i + 1];
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  }
  return arguments;
}

po::variables_map parse(const std::vector<std::string>& arguments,
                        const std::string& section,
                        const std::vector<OwnOption>& own) {
  using Style = po::command_line_style::style_t;
  po::variables_map values;
  try {
    po::store(po::command_line_parser(join_switches(arguments))
                  .options(describe(section, own))
                  .positional({})
                  .style(Style(po::command_line_style::unix_style &
                               ~po::command_line_style::allow_guessing))
                  .run(),
              values);
  } catch (const po::unknown_option& error) {
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    std::vector<std::string> known = key_names(section);
    for (const OwnOption& option : own) known.push_back(option.name);
    refuse_unknown(name, "command line", known);
  } catch (const po::too_many_positional_options_error&) {
    fail<InputError>(
        "command line: a word without its --key; expected "
        "--section.key value");
  } catch (const po::error& error) {
    fail<InputError>("command line: ", error.what());
  }
  return values;
}

}  // namespace

CommandLine read_command_line(const std::vector<std::string>& arguments,
                              const std::string& section,
                              const std::vector<OwnOption>& own) {
  const po::variables_map values = parse(arguments, section, own);
  CommandLine line;
  line.options = unresolved_defaults();
  line.print_config = values.count("print-config") > 0;
  if (values.count("config") > 0) {
    read_file_into(values["config"].as<std::string>(),
                   line.options,
                   line.origins);
  }
  for (const auto& [name, value] : values) {
    if (name == "config" || name == "print-config") continue;
    const auto text = value.as<std::string>();
    if (find_key(name) != nullptr) {
      assign(line.options, line.origins, name, text, "command line");
    } else {
      line.own[name] = text;
    }
  }
  resolve(line.options);
  return line;
}

Options options_from(const std::map<std::string, std::string>& values,
                     const std::string& origin) {
  Options options = unresolved_defaults();
  Origins origins;
  for (const auto& [name, value] : values) {
    assign(options, origins, name, value, origin);
  }
  resolve(options);
  return options;
}

Options read_config(const std::filesystem::path& file) {
  Options options = unresolved_defaults();
  Origins origins;
  read_file_into(file, options, origins);
  resolve(options);
  return options;
}

std::string to_config_text(const Options& options, const Origins* origins) {
  std::string text, section;
  for (const Key& key : option_table()) {
    const auto dot = key.name.find('.');
    if (key.name.substr(0, dot) != section) {
      section = key.name.substr(0, dot);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    const std::string value = key.get(options);
    const std::string line = fmt::format("{} ={}{}",
                                         key.name.substr(dot + 1),
                                         value.empty() ? "" : " ",
                                         value);
    if (origins == nullptr) {
      text += line + "\n";
    } else {
      const auto found = origins->find(key.name);
      text += fmt::format("{:<32} # {}\n",
                          line,
                          found == origins->end() ? "default" : found->second);
    }
  }
  return text;
}

std::map<std::string, std::string> to_map(const Options& options) {
  std::map<std::string, std::string> values;
  for (const Key& key : option_table()) values[key.name] = key.get(options);
  return values;
}

std::string describe_keys() {
  const Options defaults = unresolved_defaults();
  std::string text;
  for (const Key& key : option_table()) {
    text += fmt::format("  --{:<24} {} [{}]\n",
                        key.name,
                        key.help,
                        key.get(defaults));
  }
  return text;
}

}  // namespace mumoe::launch
