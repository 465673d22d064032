#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/features/feature_data.h"
#include "data/images/image_data.h"
#include "data/text/prepare.h"

namespace mumoe::run {

/// What is known of one half of the data: how many of what, and its hash.
struct SplitFacts {
  std::string name;  ///< "train.bin"
  std::map<std::string, std::uint64_t> counts;
  std::string hash;
};

/// What a run says of the data that it learns from: in its start table, its
/// checkpoints and its provenance.
struct DataFacts {
  std::string source;
  std::string tokenizer;  ///< Empty: no text.
  /// For people: "speeches as bytes: 1000 training tokens, 100 for validation".
  std::string description;
  /// What else the user should know, a line each.
  std::vector<std::string> notes;
  SplitFacts train;
  SplitFacts val;
  /// What one target is called: "token".
  std::string target;
  /// Of the validation text, which turns nats a token into nats a byte; 0: no
  /// text.
  double bytes_per_token = 0;
  std::vector<std::string> class_names = {};  ///< One a class; empty: text.
};

DataFacts facts_of(const data::PreparedData& prepared);
/// Of a mixture; its hashes are also of the weights.
DataFacts facts_of(const std::vector<data::PreparedSource>& sources);
DataFacts facts_of(const data::ImageData& images);
DataFacts facts_of(const data::FeatureData& features);

}  // namespace mumoe::run
