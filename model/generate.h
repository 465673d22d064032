#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/language_model.h"

namespace mumoe::model {

struct GenerateConfig {
  std::int64_t tokens = 256;
  /// Divides the logits; 0 takes the most likely token.
  double temperature = 0.8;
  /// Only the so many most likely tokens are drawn from; 0: all.
  std::int64_t top_k = 50;
  std::uint64_t seed = 0;
  /// Ids from here on are never drawn (rows that pad the embedding).
  std::int64_t vocabulary = 0;

  /// Throws `InputError` naming the option and what it must be.
  void validate() const;
};

/// Continues `prompt` (at least one token) and gives each new token to `emit`,
/// which may return false to stop. The model sees the last `context` tokens.
/// Token i is a function of (weights, prompt, settings, seed, i).
void generate(const LanguageModel& model,
              std::vector<std::int64_t> prompt,
              const GenerateConfig& config,
              const std::function<bool(std::int32_t)>& emit);

}  // namespace mumoe::model
