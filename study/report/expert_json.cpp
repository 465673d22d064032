#include "study/report/expert_json.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "data/text/utf8.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

/// The samples of examples, each made once.
class Looked {
 public:
  explicit Looked(const ExpertStudy& study) : study_(study) {}

  json of(const Example& example, TokenUnit unit) {
    json found = {{"sample", example.sample},
                  {name_of(unit), example.token},
                  {"coefficient", example.coefficient}};
    if (study_.text()) {
      add_text(found, example);
    } else if (const auto label = label_of(example.sample); label >= 0) {
      found["label"] = label;
      const auto& images = study_.material.images;
      if (images && std::cmp_less(label, images->class_names.size())) {
        found["class"] = images->class_names[static_cast<std::size_t>(label)];
      }
    }
    return found;
  }

 private:
  void add_text(json& found, const Example& example) {
    const auto& ids = tokens(example.sample);
    const data::Tokenizer& tokenizer = *study_.material.tokenizer;
    const std::int64_t size = std::ssize(ids);
    const std::int64_t first =
        std::max<std::int64_t>(0, example.token - study_.look.before);
    const std::int64_t end =
        std::min(size, example.token + 1 + study_.look.after);
    const auto part = [&](std::int64_t from, std::int64_t to) {
      return std::span(ids).subspan(static_cast<std::size_t>(from),
                                    static_cast<std::size_t>(to - from));
    };
    found["before"] = whole_text(tokenizer, part(first, example.token));
    found["text"] = tokenizer.decode(part(example.token, example.token + 1));
    found["after"] = whole_text(tokenizer, part(example.token + 1, end));
  }

  const std::vector<std::int32_t>& tokens(std::uint64_t sample) {
    auto found = tokens_.find(sample);
    if (found == tokens_.end()) {
      found =
          tokens_.emplace(sample, tokens_of(*study_.material.samples, sample))
              .first;
    }
    return found->second;
  }

  std::int64_t label_of(std::uint64_t sample) {
    auto found = labels_.find(sample);
    if (found == labels_.end()) {
      found = labels_.emplace(sample, study::label_of(study_.material, sample))
                  .first;
    }
    return found->second;
  }

  const ExpertStudy& study_;
  std::map<std::uint64_t, std::vector<std::int32_t>> tokens_;
  std::map<std::uint64_t, std::int64_t> labels_;
};

json list_of(Looked& looked,
             const std::vector<Example>& examples,
             TokenUnit unit) {
  json list = json::array();
  for (const Example& example : examples) {
    list.push_back(looked.of(example, unit));
  }
  return list;
}

json expert_of(const ExpertStudy& study,
               Looked& looked,
               std::size_t g,
               std::size_t n) {
  const GateLoad& load = study.loads[g];
  const ExpertExamples& examples = study.examples[g][n];
  json expert = {{"expert", n},
                 {"active_tokens", load.active[n]},
                 {"chosen_tokens", load.chosen[n]},
                 {"chosen_samples", load.chosen_samples[n]},
                 {"mean_coefficient", load.mean[n]},
                 {"top", list_of(looked, examples.top, study.units[g])},
                 {"drawn", list_of(looked, examples.drawn, study.units[g])}};
  if (!study.promoted.empty()) {
    json promoted = json::array();
    for (const auto& [id, logit] : study.promoted[g][n]) {
      const auto token = static_cast<std::int32_t>(id);
      promoted.push_back(
          {{"id", id},
           {"text", study.material.tokenizer->decode({&token, 1})},
           {"logit", logit}});
    }
    expert["promoted"] = std::move(promoted);
  }
  if (!study.removal.empty()) {
    expert["score_without"] = study.removal[g].without[n];
  }
  return expert;
}

json gate_of(const ExpertStudy& study, Looked& looked, std::size_t g) {
  const GateLoad& load = study.loads[g];
  json experts = json::array();
  for (std::size_t n = 0; n < study.examples[g].size(); ++n) {
    experts.push_back(expert_of(study, looked, g, n));
  }
  json gate = {{"gate", load.gate.name},
               {"unit", name_of(study.units[g])},
               {"tokens", load.tokens},
               {"samples", load.samples},
               {"dead", load.dead()},
               {"never_chosen", load.never_chosen()},
               {"effective_experts", load.effective_experts()},
               {"experts", std::move(experts)}};
  if (!study.removal.empty()) gate["score"] = study.removal[g].with_all;
  return gate;
}

json facts_of(const RunFacts& facts) {
  return {{"run", facts.run},
          {"checkpoint", facts.checkpoint},
          {"step", facts.step},
          {"model", facts.model},
          {"data", facts.data},
          {"part", facts.part},
          {"samples", facts.samples}};
}

json shown_of(const ExpertStudy& study) {
  json all = json::array();
  for (const ShownSample& shown : study.shown) {
    json gates = json::array();
    for (std::size_t g = 0; g < shown.trace.size(); ++g) {
      const GateTrace& trace = shown.trace[g];
      gates.push_back({{"gate", study.loads[g].gate.name},
                       {"tokens", trace.tokens},
                       {"per_token", GateTrace::kMost},
                       {"experts", trace.experts},
                       {"coefficients", trace.coefficients}});
    }
    all.push_back({{"title", shown.title}, {"gates", std::move(gates)}});
  }
  return all;
}

}  // namespace

std::string whole_text(const data::Tokenizer& tokenizer,
                       std::span<const std::int32_t> ids) {
  std::string text = tokenizer.decode(ids);
  std::size_t begin = 0;
  while (begin < text.size() && begin < 3 &&
         (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) {
    ++begin;
  }
  text.erase(0, begin);
  text.resize(text.size() - data::unfinished_utf8(text));
  return text;
}

std::string expert_json(const ExpertStudy& study) {
  Looked looked(study);
  json gates = json::array();
  for (std::size_t g = 0; g < study.loads.size(); ++g) {
    gates.push_back(gate_of(study, looked, g));
  }
  json object = facts_of(study.facts);
  object["study"] = "experts";
  object["threshold"] = study.threshold;
  object["seed"] = study.seed;
  object["gates"] = std::move(gates);
  object["shown"] = shown_of(study);
  if (!study.removal.empty()) {
    object["removal_samples"] = study.removal_samples;
    object["score"] =
        study.text() ? "log-likelihood, nats a token" : "accuracy";
  }
  json trees = json::array();
  for (const LevelPair& pair : study.pairs) {
    trees.push_back({{"upper", study.loads[pair.upper].gate.name},
                     {"lower", study.loads[pair.lower].gate.name},
                     {"mean_product", pair.mean}});
  }
  if (!trees.empty()) object["trees"] = std::move(trees);
  if (study.other) {
    json other = facts_of(*study.other);
    for (const GateLoad& load : study.other_loads) {
      other["gates"].push_back(
          {{"gate", load.gate.name},
           {"experts", load.gate.experts},
           {"dead", load.dead()},
           {"active_share", load.active_share()},
           {"token_entropy_nats", load.token_entropy},
           {"effective_experts", load.effective_experts()}});
    }
    object["other"] = std::move(other);
  }
  return to_text(object, 1) + "\n";
}

}  // namespace mumoe::study
