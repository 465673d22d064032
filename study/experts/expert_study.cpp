#include "study/experts/expert_study.h"

#include <variant>

namespace mumoe::study {

const char* name_of(TokenUnit unit) {
  switch (unit) {
    case TokenUnit::token:
      return "token";
    case TokenUnit::patch:
      return "patch";
    case TokenUnit::channel:
      return "channel";
    default:
      return "image";
  }
}

std::vector<TokenUnit> units_of(std::span<const GateLoad> loads,
                                const std::optional<ImageForm>& images,
                                bool text) {
  std::vector<TokenUnit> units;
  for (const GateLoad& load : loads) {
    const std::int64_t tokens = load.tokens / load.samples;
    const std::int64_t patches = images ? images->patches() : 0;
    // Of a Mixer's block, what mixes tokens has one coefficient a channel.
    const bool channels = load.gate.name.find(".token") != std::string::npos;
    if (text) {
      units.push_back(TokenUnit::token);
    } else if (tokens == 1) {
      units.push_back(TokenUnit::image);
    } else if (!channels && (tokens == patches || tokens == patches + 1)) {
      units.push_back(TokenUnit::patch);
    } else {
      units.push_back(TokenUnit::channel);
    }
  }
  return units;
}

std::int64_t label_of(const Material& material, std::uint64_t sample) {
  if (material.tokenizer != nullptr) return -1;
  const data::HostBatch made = material.samples->make({&sample, 1});
  const auto* labels = std::get_if<std::vector<std::int32_t>>(&made.target);
  return labels != nullptr && labels->size() == 1 ? labels->front() : -1;
}

std::vector<std::int32_t> tokens_of(const data::Samples& samples,
                                    std::uint64_t sample) {
  return std::get<std::vector<std::int32_t>>(samples.make({&sample, 1}).input);
}

}  // namespace mumoe::study
