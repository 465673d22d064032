#include "run/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/number.h"
#include "data/features/feature_data.h"
#include "model/families.h"
#include "mumoe/rank_matching.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

constexpr std::size_t kColumnOfOrigins = 32;
constexpr const char* kAuto = "auto";
constexpr const char* kPaper = "paper";
constexpr const char* kPaperOrAuto = "paper,auto";

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

/// The ranks by `rule`, of a block that replaces a dense MLP or a linear head.
std::vector<std::int64_t> ranks_by(RankRule rule,
                                   const Options& o,
                                   const model::MlpKind& kind) {
  return match_ranks(
      kind.block.shape(),
      {.rule = rule,
       .budget = kind.parameters > 0 ? kind.parameters
                                     : model::dense_parameters(kind),
       .family = model::family(o.family).paper});
}

/// What a key of ranks says of the MLPs `kind`.
std::vector<std::int64_t> ranks_of(const Options& o,
                                   const std::string& said,
                                   const model::MlpKind& kind) {
  const BlockShape shape = kind.block.shape();
  if (!is_rank_rule(said)) {
    const auto given = parse_list(said);
    return given.size() == 1 ? ranks_from_free(shape, given[0]) : given;
  }
  // They chose multiples of the width, for hidden layers of four times that.
  const bool usual =
      kind.block.output_dim == 0 || o.model.mlp.hidden_dim == 4 * o.model.width;
  if (said == kPaperOrAuto && usual) {
    try {
      return ranks_by(RankRule::paper, o, kind);
    } catch (const InputError&) {  // the authors chose none
    }
  }
  return ranks_by(said == kPaper ? RankRule::paper : RankRule::automatic,
                  o,
                  kind);
}

/// Turns model.rank and model.token_rank into ranks.
void resolve_ranks(Options& o) {
  for (const model::MlpKind& kind : model::family(o.family).mlps(o.model)) {
    if (kind.dense) continue;
    const Key& key =
        *find_key_of_member(std::string("model.") + kind.ranks_member);
    std::vector<std::int64_t>& ranks = kind.ranks(o.model);
    if (!ranks.empty()) continue;
    const std::string said = rank_text(o, kind);
    try {
      ranks = ranks_of(o, said, kind);
    } catch (const InputError& error) {
      if (!is_rank_rule(said)) throw;
      fail<InputError>("{} = {}: {}", key.name, said, error.what());
    }
  }
}

/// The learning rate's end, warm-up and decay, where these follow from others.
void resolve_schedule(Options& o) {
  ScheduleConfig& s = o.schedule;
  if (s.steps == 0 && o.trainer.steps == kStepsByEpochs) return;
  if (s.steps == 0) s.steps = o.trainer.steps;
  constexpr std::int64_t kLongestWarmup = 2000;
  if (s.warmup == kOpenSteps) s.warmup = std::min(s.steps / 10, kLongestWarmup);
  if (s.decay == kOpenSteps && s.kind == ScheduleKind::wsd) {
    s.decay = std::clamp<std::int64_t>(s.steps - s.warmup, 0, s.steps / 5);
  }
  // In decimal digits: a tenth of 6e-4 is 6e-5.
  if (s.min_lr == kOpenRate) {
    s.min_lr = parse_number<double>(fmt::format("{:.15g}", s.lr / 10));
  }
}

/// Sizes that follow from what a family learns from; those of others stay
/// open.
void resolve_family(Options& o, model::LearnsFrom samples) {
  model::ModelConfig& m = o.model;
  const auto follow = [](std::int64_t& value, std::int64_t by_itself) {
    if (value == 0) value = by_itself;
  };
  if (samples == model::LearnsFrom::tokens) {
    follow(m.vocab, default_vocabulary(o.tokenizer));
    return;
  }
  if (samples == model::LearnsFrom::features) {
    if (m.features == 0 || m.classes == 0) {
      const data::FeatureShape found = data::feature_shape(o.source);
      follow(m.features, found.width);
      follow(m.classes, found.classes);
    }
    // Where nothing is known, what CLIP's B/32 makes of ImageNet.
    follow(m.features, 768);
    follow(m.classes, 1000);
    return;
  }
  if (m.image_size == 0 || m.channels == 0 || m.classes == 0) {
    const data::ImageShape images = data::image_shape(o.source, o.target);
    follow(m.image_size, images.size);
    follow(m.channels, images.channels);
    follow(m.classes, images.classes);
  }
  // Where nothing is known, ImageNet as models see it.
  follow(m.image_size, 224);
  follow(m.channels, 3);
  follow(m.classes, 1000);
  follow(m.token_hidden, std::max<std::int64_t>(1, m.width / 2));
}

/// Settles what depends on other settings.
void resolve(Options& o) {
  if (o.model.mlp.hidden_dim == 0) {
    // Unsigned: a width beyond all bounds is refused below.
    o.model.mlp.hidden_dim = static_cast<std::int64_t>(
        4 * static_cast<std::uint64_t>(o.model.width));
  }
  const model::Family& family = model::family(o.family);
  resolve_family(o, family.learns_from);
  o.model.seed = o.trainer.seed;
  resolve_schedule(o);
  name_keys({"model"}, [&] { family.validate_shape(o.model); });
  resolve_ranks(o);
  name_keys({"model"}, [&] { family.validate(o.model); });
  name_keys({"trainer"}, [&] { o.trainer.validate(); });
  require(o.epochs >= 0 && std::isfinite(o.epochs),
          "train.epochs = {}: expected at least 0",
          o.epochs);
  require(o.epochs > 0 || o.trainer.steps != kStepsByEpochs,
          "train.steps = auto: expected a number, or train.epochs beside it");
  require(o.mixup >= 0 && std::isfinite(o.mixup),
          "data.mixup = {}: expected at least 0",
          o.mixup);
  // Without its length it is looked at when the data is there.
  if (o.schedule.steps > 0) {
    name_keys({"schedule"}, [&] { o.schedule.validate(); });
  }
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

/// Whether `text` says something of the key `name`: "name = 3".
bool names(const std::string& text, const std::string& name) {
  const auto at = text.find(name + " = ");
  return at != text.npos && (at == 0 || text[at - 1] == ' ');
}

/// The keys of `options` that are `auto`.
std::set<std::string> open_keys(const Options& options) {
  std::set<std::string> keys;
  for (const Key& key : option_table()) {
    if (key.text.get(options) == kAuto) keys.insert(key.name);
  }
  return keys;
}

}  // namespace

bool is_rank_rule(const std::string& rank) {
  return rank == kAuto || rank == kPaper || rank == kPaperOrAuto;
}

std::string rank_text(const Options& o, const model::MlpKind& kind) {
  if (kind.ranks_member == std::string_view("mlp.ranks")) return o.rank;
  const bool follows = o.token_rank == kAuto && is_rank_rule(o.rank);
  return follows ? o.rank : o.token_rank;
}

std::int64_t default_vocabulary(const std::string& tokenizer) {
  return tokenizer == "gpt2" ? 50304 : 256;
}

Draft::Draft() {
  model::ModelConfig& m = options_.model;
  m.mlp.hidden_dim = m.token_hidden = m.vocab = 0;
  m.image_size = m.channels = m.classes = m.features = 0;
  m.mlp.ranks.clear();
  m.token_ranks.clear();
  options_.schedule.steps = 0;
  options_.schedule.decay = kOpenSteps;
}

void Draft::set(const std::string& name,
                const std::string& value,
                const std::string& where,
                const std::string& origin) {
  const Key* key = find_key(name);
  if (key == nullptr) refuse_unknown(name, where, key_words("*"));
  try {
    key->text.set(options_, value);
  } catch (const InputError& error) {
    std::string meant = did_you_mean(value, key->text.words);
    if (!meant.empty()) meant += " ";
    fail<InputError>("{}: {} = {}: {}{}",
                     where,
                     name,
                     value,
                     meant,
                     error.what());
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
            "{}: {} stands in no section; expected a line [section] above it; "
            "{}",
            where,
            entry.name,
            answer_to(entry.name, key_words("*")));
    require_clear(entry, where);
    set(entry.name, entry.value, where, file);
  }
  return entries.size();
}

bool is_given(const std::string& key, const Origins& origins) {
  const auto origin = origins.find(key);
  return origin != origins.end() && origin->second == kCommandLine;
}

Options Draft::resolved() const {
  Options options = options_;
  const auto typed = [&](const char* name) { return is_given(name, origins_); };
  // Typed, each replaces what a file has of the other.
  if (typed("train.steps") && !typed("train.epochs") &&
      options.trainer.steps != kStepsByEpochs) {
    options.epochs = 0;
  }
  if (options.epochs > 0 &&
      (!origins_.contains("train.steps") ||
       (typed("train.epochs") && !typed("train.steps")))) {
    options.trainer.steps = kStepsByEpochs;
  }
  options.followed = open_keys(options);
  try {
    resolve(options);
  } catch (const InputError& error) {
    throw with_origins(error, origins_);
  }
  std::erase_if(options.followed, [&](const std::string& name) {
    return find_key(name)->text.get(options) == kAuto;
  });
  return options;
}

Options with_steps(Options options, std::uint64_t samples) {
  if (options.epochs == 0) return options;
  const double steps = std::ceil(options.epochs * static_cast<double>(samples) /
                                 static_cast<double>(options.trainer.batch));
  require(steps >= 1 && steps <= std::numeric_limits<std::int32_t>::max(),
          "train.epochs = {}: {} steps of train.batch = {} of {} samples: "
          "expected 1 to {}",
          options.epochs,
          steps,
          options.trainer.batch,
          samples,
          std::numeric_limits<std::int32_t>::max());
  const auto whole = static_cast<std::int64_t>(steps);
  require(
      options.trainer.steps == kStepsByEpochs || options.trainer.steps == whole,
      "train.steps = {}: train.epochs = {} of {} samples are {} steps; "
      "expected one of the two",
      options.trainer.steps,
      options.epochs,
      samples,
      whole);
  options.trainer.steps = whole;
  resolve_schedule(options);
  name_keys({"schedule"}, [&] { options.schedule.validate(); });
  return options;
}

InputError with_origins(const InputError& error, const Origins& origins) {
  std::string text = error.what(), where;
  for (const auto& [name, origin] : origins) {
    if (origin == kCommandLine || !names(text, name)) continue;
    where += fmt::format("{}{} stands in {}",
                         where.empty() ? "" : "; ",
                         name,
                         origin);
    if (find_key(name)->text.has_auto) {
      where += fmt::format(", --{} auto follows the others", name);
    }
  }
  return where.empty() ? error : InputError(text + " (" + where + ")");
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
