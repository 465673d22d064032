#include "run/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "mumoe/rank_matching.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

constexpr std::size_t kColumnOfOrigins = 32;

/// A name of a folder may hold ` #`: whoever wrote it has to say what it is.
void require_clear(const ConfigEntry& entry, const std::string& where) {
  const Key* key = find_key(entry.name);
  const std::string whole =
      entry.value + (entry.value.empty() ? "" : " ") + entry.doubtful;
  require(entry.doubtful.empty() || key == nullptr || !key->text.is_text,
          "{}: {} = {}: is {} a comment? expected {} if it belongs to the "
          "value, else a blank after the #",
          where,
          entry.name,
          whole,
          entry.doubtful,
          to_config_value(whole));
}

/// Turns model.rank into ranks.
void resolve_ranks(Options& o) {
  model::Gpt2Config& m = o.model;
  if (m.dense || !m.mlp.ranks.empty()) return;
  const BlockShape block = m.block().shape();
  try {
    if (o.rank == "auto" || o.rank == "paper") {
      m.mlp.ranks = match_ranks(
          block,
          {.rule = o.rank == "auto" ? RankRule::automatic : RankRule::paper,
           .budget = dense_mlp_parameters(m.width,
                                          m.mlp.hidden_dim,
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
  m.mlp.ranks = given.size() == 1 ? ranks_from_free(block, given[0]) : given;
}

/// Settles what depends on other settings.
void resolve(Options& o) {
  if (o.model.mlp.hidden_dim == 0) {
    // Unsigned: a width beyond all bounds is refused below.
    o.model.mlp.hidden_dim = static_cast<std::int64_t>(
        4 * static_cast<std::uint64_t>(o.model.width));
  }
  if (o.model.vocab == 0) o.model.vocab = o.tokenizer == "gpt2" ? 50304 : 256;
  if (o.schedule.steps == 0) o.schedule.steps = o.trainer.steps;
  name_keys({"model"}, [&] { o.model.validate_but_ranks(); });
  resolve_ranks(o);
  name_keys({"model"}, [&] { o.model.validate(); });
  name_keys({"trainer"}, [&] { o.trainer.validate(); });
  name_keys({"schedule"}, [&] { o.schedule.validate(); });
  name_keys({"optimizer"}, [&] { o.optimizer.validate(); });
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

}  // namespace

Draft::Draft() {
  options_.model.mlp.hidden_dim = 0;
  options_.model.vocab = 0;
  options_.model.mlp.ranks.clear();
  options_.schedule.steps = 0;
}

void Draft::set(const std::string& name,
                const std::string& value,
                const std::string& where,
                const std::string& origin) {
  const Key* key = find_key(name);
  if (key == nullptr) refuse_unknown(name, where, key_names("*"));
  try {
    key->text.set(options_, value);
  } catch (const InputError& error) {
    fail<InputError>("{}: {} = {}: {}", where, name, value, error.what());
  }
  origins_[name] = origin;
}

std::size_t Draft::read_file(const std::filesystem::path& file) {
  return take(read_config_file(file), file.string());
}

std::size_t Draft::read_text(std::string_view text, const std::string& origin) {
  return take(parse_config(text, origin), origin);
}

std::size_t Draft::take(const std::vector<ConfigEntry>& entries,
                        const std::string& file) {
  for (const ConfigEntry& entry : entries) {
    const std::string where = fmt::format("{}:{}", file, entry.line);
    require(entry.name.find('.') != entry.name.npos,
            "{}: {} stands in no section; expected a line [section] above it, "
            "such as that of {}",
            where,
            entry.name,
            in_any_section(entry.name));
    require_clear(entry, where);
    set(entry.name, entry.value, where, file);
  }
  return entries.size();
}

Options Draft::resolved() const {
  Options options = options_;
  resolve(options);
  return options;
}

InputError with_keys(const InputError& error,
                     std::initializer_list<const char*> parts) {
  constexpr std::string_view kEquals = " = ";
  std::string text = error.what();
  for (auto at = text.find(kEquals); at != text.npos;
       at = text.find(kEquals, at + kEquals.size())) {
    const auto begin =
        text.find_last_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.", at - 1);
    const auto first = begin == text.npos ? 0 : begin + 1;
    const std::string name = text.substr(first, at - first);
    for (const std::string part : parts) {
      const auto* key =
          find_key_of_member(part.empty() ? name : part + "." + name);
      if (key == nullptr) continue;
      text.replace(first, name.size(), key->name);
      at += key->name.size() - name.size();
      break;
    }
  }
  return InputError(text);
}

Options options_from(const std::map<std::string, std::string>& values,
                     const std::string& origin) {
  Draft draft;
  for (const auto& [name, value] : values) {
    draft.set(name, value, origin, origin);
  }
  return draft.resolved();
}

Options read_config(const std::filesystem::path& file) {
  Draft draft;
  require(draft.read_file(file) > 0,
          "{}: holds no settings; expected those of a run",
          file.string());
  return draft.resolved();
}

std::string to_config_text(const Options& options, const Origins* origins) {
  std::string text, section;
  for (const Key& key : option_table()) {
    const auto dot = key.name.find('.');
    if (key.name.substr(0, dot) != section) {
      section = key.name.substr(0, dot);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    const std::string value = to_config_value(key.text.get(options));
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
  for (const Key& key : option_table())
    values[key.name] = key.text.get(options);
  return values;
}

}  // namespace mumoe::run
