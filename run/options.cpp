#include "run/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>

#include "base/error.h"
#include "mumoe/rank_matching.h"
#include "run/config_file.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kColumnOfOrigins = 32;

/// What a subcommand's command line may hold, beside its own options.
bool takes(const std::string& section, const Key& key) {
  return section == "*" ||
         (!section.empty() && key.name.starts_with(section + "."));
}

[[noreturn]] void refuse_unknown(const std::string& name,
                                 const std::string& where,
                                 const std::vector<std::string>& known) {
  fail<InputError>("{}: unknown key {}; did you mean {}?",
                   where,
                   name,
                   nearest(known, name));
}

/// The keys that are called `name` in some section, or the one most like it.
std::string in_any_section(const std::string& name) {
  std::vector<std::string> names;
  std::string same;
  for (const Key& key : option_table()) {
    names.push_back(key.name.substr(key.name.find('.') + 1));
    if (names.back() == name) same += (same.empty() ? "" : " or ") + key.name;
  }
  const std::string& found = nearest(names, name);
  return same.empty() ? option_table()[&found - names.data()].name : same;
}

std::vector<std::string> key_names(const std::string& section) {
  std::vector<std::string> names;
  for (const Key& key : option_table()) {
    if (takes(section, key)) names.push_back(key.name);
  }
  return names;
}

/// `where` is what a mistake is reported of, `origin` what is kept.
void assign(Options& options,
            Origins& origins,
            const std::string& name,
            const std::string& value,
            const std::string& where,
            const std::string& origin) {
  const Key* key = find_key(name);
  if (key == nullptr) refuse_unknown(name, where, key_names("*"));
  try {
    key->set(options, value);
  } catch (const InputError& error) {
    fail<InputError>("{}: {} = {}: {}", where, name, value, error.what());
  }
  origins[name] = origin;
}

/// A name of a folder may hold ` #`: whoever wrote it has to say what it is.
void require_clear(const ConfigEntry& entry, const std::string& where) {
  const Key* key = find_key(entry.name);
  const std::string whole =
      entry.value + (entry.value.empty() ? "" : " ") + entry.doubtful;
  require(entry.doubtful.empty() || key == nullptr || !key->is_text,
          "{}: {} = {}: is {} a comment? expected {} if it belongs to the "
          "value, else a blank after the #",
          where,
          entry.name,
          whole,
          entry.doubtful,
          to_config_value(whole));
}

/// Returns how many settings the file has.
std::size_t read_file_into(const std::filesystem::path& file,
                           Options& options,
                           Origins& origins) {
  const auto entries = read_config_file(file);
  for (const ConfigEntry& entry : entries) {
    const std::string where = fmt::format("{}:{}", file.string(), entry.line);
    require(entry.name.find('.') != entry.name.npos,
            "{}: {} stands in no section; expected a line [section] above it, "
            "such as that of {}",
            where,
            entry.name,
            in_any_section(entry.name));
    require_clear(entry, where);
    assign(options, origins, entry.name, entry.value, where, file.string());
  }
  return entries.size();
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
    fail<InputError>("model.rank = {}: {}", o.rank, error.what());
  }
  const auto given = parse_list(o.rank);
  m.ranks = given.size() == 1 ? ranks_from_free(block, given[0]) : given;
}

/// Settles what depends on other settings.
void resolve(Options& o) {
  if (o.model.hidden == 0) {
    // Unsigned: a width beyond all bounds is refused below.
    o.model.hidden = static_cast<std::int64_t>(
        4 * static_cast<std::uint64_t>(o.model.width));
  }
  if (o.model.vocab == 0) o.model.vocab = o.tokenizer == "gpt2" ? 50304 : 256;
  if (o.schedule.steps == 0) o.schedule.steps = o.trainer.steps;
  o.model.validate_but_ranks();
  resolve_ranks(o);
  o.model.validate();
  o.trainer.validate();
  o.schedule.validate();
  o.optimizer.validate();
  require(o.parallel.deadline >= 1 && o.parallel.deadline <= 1e6,
          "parallel.deadline = {}: expected 1 to 1000000 seconds",
          o.parallel.deadline);
  require(o.parallel.zero == 0 || o.parallel.zero == 1,
          "parallel.zero = {}: expected 0 or 1",
          o.parallel.zero);
  require(o.parallel.check_replicas >= 0,
          "parallel.check_replicas = {}: expected at least 0",
          o.parallel.check_replicas);
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

/// Splits off one option at the front of `words`: `--name=value`, also where
/// the value is empty, or `--name value`, whatever the value looks like but
/// another option of this command line. Boost's own rules refuse the first and
/// take the value of a switch only from `--switch=value`. What is no option is
/// left to Boost.
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
  const po::options_description known = describe(section, own);
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
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    std::vector<std::string> names = key_names(section);
    for (const OwnOption& option : own) names.push_back(option.name);
    if (!section.empty()) names.emplace_back("config");
    if (section == "*") names.emplace_back("print-config");
    refuse_unknown(name, "command line", names);
  } catch (const po::too_many_positional_options_error&) {
    fail<InputError>(
        "command line: a word without its --key; expected --section.key value");
  } catch (const po::error& error) {
    fail<InputError>("command line: {}", error.what());
  }
  return values;
}

}  // namespace

std::string CommandLine::text(const std::string& name,
                              std::string otherwise) const {
  const auto found = own.find(name);
  return found == own.end() ? std::move(otherwise) : found->second;
}

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
      constexpr const char* kOrigin = "command line";
      assign(line.options, line.origins, name, text, kOrigin, kOrigin);
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
    assign(options, origins, name, value, origin, origin);
  }
  resolve(options);
  return options;
}

Options read_config(const std::filesystem::path& file) {
  Options options = unresolved_defaults();
  Origins origins;
  const auto settings = read_file_into(file, options, origins);
  require(settings > 0,
          "{}: holds no settings; expected those of a run",
          file.string());
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
    const std::string value = to_config_value(key.get(options));
    std::string line = key.name.substr(dot + 1) + " =";
    if (!value.empty()) line += " " + value;
    if (origins != nullptr) {
      const auto found = origins->find(key.name);
      line.resize(std::max(line.size(), kColumnOfOrigins), ' ');
      line += " # ";
      line += found == origins->end() ? "default" : one_line(found->second);
    }
    text += line + "\n";
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

}  // namespace mumoe::run
