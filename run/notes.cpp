#include "run/notes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "model/families.h"
#include "run/option_table.h"

namespace mumoe::run {
namespace {

/// From `least` to `most` times what it would be by itself, a size fits.
constexpr double kLeast = 0.75, kMost = 1.34;

bool fits(std::int64_t value, std::int64_t by_itself) {
  const double ratio =
      static_cast<double>(value) / static_cast<double>(by_itself);
  return ratio >= kLeast && ratio <= kMost;
}

/// Before the key that would mend it: a run that goes on keeps what it has.
const char* where(const Options& o) {
  return o.resume != Resume::no ? "in a new run " : "";
}

/// Ranks that were chosen for another MLP.
std::string note_ranks(const Options& o, const Origins&) {
  for (const model::MlpKind& kind : model::family(o.family).mlps(o.model)) {
    if (kind.dense || kind.parameters > 0) continue;
    const std::string key =
        find_key_of_member(std::string("model.") + kind.ranks_member)->name;
    const std::string said = rank_text(o, kind);
    // The authors' ranks for tokens make more than a dense MLP of it.
    const bool meant = key == "model.token_rank" && is_rank_rule(said);
    if (meant || said == "auto") continue;
    const auto dense = model::dense_parameters(kind);
    const auto block = MuMoEBlock::parameter_count(kind.block);
    if (fits(block, dense)) continue;
    return fmt::format(
        "{} = {}: {} parameters a block, {:.2f} times the {} of a {}; {}--{} "
        "auto has as many",
        key,
        fmt::join(kind.block.ranks, ","),
        block,
        static_cast<double>(block) / static_cast<double>(dense),
        dense,
        kind.instead_of,
        where(o),
        key);
  }
  return {};
}

std::string note_hidden(const Options& o, const Origins& origins) {
  const auto usual = 4 * o.model.width;
  if (is_given("model.hidden", origins)) return {};  // and meant
  if (fits(o.model.mlp.hidden_dim, usual)) return {};
  return fmt::format(
      "model.hidden = {}: {:.2f} times model.width = {}, where 4 times is "
      "usual; {}--model.hidden auto: {}",
      o.model.mlp.hidden_dim,
      static_cast<double>(o.model.mlp.hidden_dim) /
          static_cast<double>(o.model.width),
      o.model.width,
      where(o),
      usual);
}

std::string note_vocabulary(const Options& o, const Origins&) {
  const bool has_tokens =
      model::family(o.family).learns_from == model::LearnsFrom::tokens;
  const auto needed = default_vocabulary(o.tokenizer);
  if (!has_tokens) return {};
  if (o.model.vocab <= 2 * needed) return {};
  return fmt::format(
      "model.vocab = {}: the tokenizer {} has fewer tokens; {}--model.vocab "
      "auto: {}",
      o.model.vocab,
      o.tokenizer,
      where(o),
      needed);
}

/// A schedule of another length than the run.
std::string note_schedule(const Options& o, const Origins&) {
  const ScheduleConfig& s = o.schedule;
  const auto steps = o.trainer.steps;
  if (s.kind == ScheduleKind::constant || s.steps == steps) return {};
  if (s.steps < steps) {
    return fmt::format(
        "schedule.steps = {} of train.steps = {}: the last {} steps have the "
        "lowest learning rate, schedule.min_lr = {}; {}--schedule.steps auto "
        "ends with the run",
        s.steps,
        steps,
        steps - s.steps,
        s.min_lr,
        where(o));
  }
  return fmt::format(
      "schedule.steps = {} of train.steps = {}: the run ends before the "
      "learning rate is at schedule.min_lr = {}; {}--schedule.steps auto ends "
      "with the run",
      s.steps,
      steps,
      s.min_lr,
      where(o));
}

std::string note_warmup(const Options& o, const Origins&) {
  if (2 * o.schedule.warmup <= o.trainer.steps) return {};
  return fmt::format(
      "schedule.warmup = {}: more than half of train.steps = {}; "
      "{}--schedule.warmup auto: a tenth of schedule.steps",
      o.schedule.warmup,
      o.trainer.steps,
      where(o));
}

/// What is due for the first time after the end.
std::string note_intervals(const Options& o, const Origins&) {
  const TrainerConfig& t = o.trainer;
  std::vector<std::string> late;
  if (t.eval_every > t.steps) {
    late.push_back(fmt::format("train.eval_every = {}", t.eval_every));
  }
  if (t.checkpoint_every > t.steps) {
    late.push_back(fmt::format("checkpoint.every = {}", t.checkpoint_every));
  }
  if (late.empty()) return {};
  return fmt::format("{}: beyond train.steps = {}",
                     fmt::join(late, ", "),
                     t.steps);
}

/// Keys that do nothing unless ...
struct Idle {
  std::vector<std::string> keys;
  bool idle;
  std::string since;
};

/// What other families than the run's look at.
std::vector<std::string> keys_of_others(const Options& o) {
  const auto own = model::family(o.family).members;
  std::set<std::string> keys;
  for (const model::Family& family : model::families()) {
    for (const std::string member : family.members) {
      if (std::ranges::find(own, member) != own.end()) continue;
      keys.insert(find_key_of_member("model." + member)->name);
    }
  }
  return {keys.begin(), keys.end()};
}

/// Keys given with the command that do nothing.
std::vector<std::string> note_idle(const Options& o, const Origins& origins) {
  const auto& gate = o.model.mlp.gate;
  const bool constant = o.schedule.kind == ScheduleKind::constant;
  const model::Family& family = model::family(o.family);
  const bool images = family.learns_from == model::LearnsFrom::images;
  const bool text = family.learns_from == model::LearnsFrom::tokens;
  const bool mixes = model::has_mixtures(family, o.model);
  const bool has_head =
      std::ranges::count(family.members, std::string_view("head")) > 0;
  const std::string head = "model.head is " + std::string(o.model.head_name());
  const std::string dense = family.learns_from == model::LearnsFrom::features
                                ? head
                                : "model.mlp is dense";
  const std::vector<Idle> all = {
      {keys_of_others(o), true, "model.family is " + o.family},
      {{"data.tokenizer", "data.field"}, !text, "images have no tokens"},
      {{"log.sample"}, !text, "the model writes no text"},
      {{"data.target", "data.augment", "data.normalise", "data.bad_images"},
       !images,
       text ? "texts are no images" : "features are of images as they were"},
      {{"model.experts",
        "model.rank",
        "model.token_rank",
        "model.gate",
        "model.gate_top_k",
        "model.gate_norm",
        "model.level_noise",
        "model.expert_bias",
        "train.mixing",
        "log.experts",
        "log.experts_line"},
       !mixes,
       dense},
      {{"train.recompute"},
       !mixes && o.model.recompute == model::Recompute::mixture,
       dense},
      {{"model.gate_top_k"},
       mixes && gate.activation != GateActivation::top_k,
       "model.gate is not top_k"},
      {{"model.level_noise"},
       mixes && o.model.mlp.experts.size() == 1,
       "model.experts has one level"},
      {{"model.head_parameters"},
       o.model.head == model::HeadKind::linear && has_head,
       head},
      {{"schedule.min_lr", "schedule.steps"},
       constant,
       "schedule.kind is constant"},
      {{"schedule.decay"},
       o.schedule.kind != ScheduleKind::wsd,
       "schedule.kind is not wsd"},
  };
  std::vector<std::string> notes;
  for (const Idle& each : all) {
    std::vector<std::string> given;
    for (const std::string& key : each.keys) {
      if (each.idle && is_given(key, origins)) given.push_back(key);
    }
    if (given.empty()) continue;
    notes.push_back(fmt::format("{}: without effect, since {}",
                                fmt::join(given, ", "),
                                each.since));
  }
  return notes;
}

}  // namespace

std::vector<std::string> notes_on(const Options& options,
                                  const Origins& origins) {
  std::vector<std::string> notes;
  for (const auto note : {note_ranks,
                          note_hidden,
                          note_vocabulary,
                          note_schedule,
                          note_warmup,
                          note_intervals}) {
    if (auto line = note(options, origins); !line.empty()) {
      notes.push_back(std::move(line));
    }
  }
  for (auto& line : note_idle(options, origins)) {
    notes.push_back(std::move(line));
  }
  return notes;
}

}  // namespace mumoe::run
