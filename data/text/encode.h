#pragma once

#include <cstdint>
#include <vector>

#include "data/text/blocks.h"
#include "data/text/corpus.h"
#include "data/text/shards.h"
#include "data/text/split.h"
#include "data/text/tokenizer.h"

namespace mumoe::data {

/// What was seen of one split.
struct SplitCounts {
  std::uint64_t documents = 0;
  std::uint64_t bytes = 0;  ///< Of text, separators not counted.
};

/// What is for training and what for validation, of a corpus or its blocks.
template <class Value>
struct BothSplits {
  Value train, val;
};

/// Encodes the documents of `corpus` on `threads` threads (0: one a core) and
/// gives the tokens to the writers in the corpus's order, each document
/// followed by `end_of_document()`. What is in the writers' files already is
/// not encoded. Holds a few blocks a thread. Throws `InputError` naming the
/// document that the tokenizer refuses.
BothSplits<SplitCounts> encode_corpus(const Corpus& corpus,
                                      const Survey& survey,
                                      const SplitPlan& plan,
                                      const Tokenizer& tokenizer,
                                      unsigned threads,
                                      ShardWriter& train,
                                      ShardWriter& val);

}  // namespace mumoe::data
