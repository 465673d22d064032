#include "run/data_facts.h"

#include <fmt/format.h>

#include <utility>

#include "data/attributes.h"
#include "data/text/token_file.h"

namespace mumoe::run {
namespace {

SplitFacts facts_of(const char* name, const data::Split& split) {
  return {name, {{"tokens", split.tokens}, {"bytes", split.bytes}}, split.hash};
}

}  // namespace

DataFacts facts_of(const data::PreparedData& prepared) {
  return {.source = prepared.source,
          .tokenizer = prepared.tokenizer,
          .description =
              fmt::format("{} as {}: {} training tokens, {} for validation",
                          prepared.source,
                          prepared.tokenizer,
                          prepared.train.tokens,
                          prepared.val.tokens),
          .notes = prepared.notes,
          .train = facts_of("train.bin", prepared.train),
          .val = facts_of("val.bin", prepared.val),
          .target = "token",
          .bytes_per_token = prepared.val.bytes_per_token()};
}

DataFacts facts_of(const std::vector<data::PreparedSource>& sources) {
  if (sources.size() == 1) return facts_of(sources.front().data);
  data::PreparedData all = sources.front().data;
  all.source.clear();
  all.notes.clear();
  all.train = all.val = {};
  for (const auto& [weight, data] : sources) {
    const std::string share = fmt::format("{:.4g}", weight);
    all.source += fmt::format("{}{}={}",
                              all.source.empty() ? "" : ",",
                              data.source,
                              share);
    for (const auto& [sum, split] :
         {std::pair(&all.train, &data.train), {&all.val, &data.val}}) {
      sum->tokens += split->tokens;
      sum->bytes += split->bytes;
      sum->hash += fmt::format("{:.17g} {}\n", weight, split->hash);
    }
    for (const auto& note : data.notes) {
      all.notes.push_back(data.source + ": " + note);
    }
  }
  for (auto* split : {&all.train, &all.val}) {
    split->hash = data::hash_hex(split->hash);
  }
  return facts_of(all);
}

DataFacts facts_of(const data::ImageData& images) {
  const auto train = images.train->size(), val = images.val->size();
  const data::Attributes* attributes = images.train->attributes();
  return {
      .source = images.name,
      .tokenizer = {},
      .description = fmt::format(
          "{}: {} training images of {} x {}, {} channel{}, {} classes, {} "
          "for validation{}{}",
          images.name,
          train,
          images.size,
          images.size,
          images.channels,
          images.channels == 1 ? "" : "s",
          images.classes,
          val,
          images.test == nullptr
              ? ""
              : fmt::format(", {} for the test", images.test->size()),
          attributes == nullptr
              ? ""
              : fmt::format(", {} attributes", attributes->names.size())),
      .notes = images.notes,
      .train = {"the training images", {{"images", train}}, images.train_hash},
      .val = {"the validation images", {{"images", val}}, images.val_hash},
      .target = "image",
      .class_names = images.class_names};
}

DataFacts facts_of(const data::FeatureData& features) {
  const data::FeatureFacts& facts = features.facts;
  const auto train = features.train->size(), val = features.val->size();
  return {
      .source = features.name,
      .tokenizer = {},
      .description = fmt::format(
          "{}: {} features by {} of each of {} training images of {}, {} "
          "classes, {} for validation",
          features.name,
          facts.width,
          facts.backbone,
          train,
          facts.source,
          facts.class_names.size(),
          val),
      .notes = {},
      .train = {"the training features",
                {{"images", train}},
                facts.train.sha256},
      .val = {"the validation features", {{"images", val}}, facts.val.sha256},
      .target = "image",
      .class_names = facts.class_names};
}

}  // namespace mumoe::run
