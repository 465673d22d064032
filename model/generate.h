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
  /// Of those, only the most likely ones that together have this probability.
  double top_p = 1;
  std::uint64_t seed = 0;
  /// Ids from here on are never drawn (rows that pad the embedding).
  std::int64_t vocabulary = 0;
  /// Whether keys and values are kept; otherwise every token computes all that
  /// it sees again. The same text, but where rounding decides.
  bool cached = true;

  /// Throws `InputError` naming the option and what it must be.
  void validate() const;
};

/// Continues `prompts` (each at least one token) side by side and gives each
/// new token to `emit` with the number of its prompt; where that returns false,
/// this text ends. Token i of a text is a function of (weights, its prompt,
/// settings, seed, i), up to rounding, whatever the other prompts are.
///
/// Of a prompt the model sees the last `context()` tokens. When no more fit,
/// what it sees begins anew with the last half of them, and grows again: a
/// token costs one pass over itself, and every context/2 tokens one over half a
/// context. Collective over the model's tp group.
void generate(
    const LanguageModel& model,
    std::vector<std::vector<std::int64_t>> prompts,
    const GenerateConfig& config,
    const std::function<bool(std::size_t prompt, std::int32_t id)>& emit);

/// The same of one prompt.
void generate(const LanguageModel& model,
              std::vector<std::int64_t> prompt,
              const GenerateConfig& config,
              const std::function<bool(std::int32_t)>& emit);

}  // namespace mumoe::model
