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

}  // namespace mumoe::run
