#include "run/data_facts.h"

#include <fmt/format.h>

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

DataFacts facts_of(const data::ImageData& images) {
  const auto train = images.train->size(), val = images.val->size();
  return {
      .source = images.name,
      .tokenizer = {},
      .description = fmt::format(
          "{}: {} training images of {} x {}, {} channel{}, {} classes, {} "
          "for validation",
          images.name,
          train,
          images.size,
          images.size,
          images.channels,
          images.channels == 1 ? "" : "s",
          images.classes,
          val),
      .notes = images.notes,
      .train = {"the training images", {{"images", train}}, images.train_hash},
      .val = {"the validation images", {{"images", val}}, images.val_hash},
      .target = "image"};
}

}  // namespace mumoe::run
