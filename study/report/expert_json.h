#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/text/tokenizer.h"
#include "study/experts/expert_study.h"

namespace mumoe::study {

/// All that a study of experts found, as one JSON object with a line feed.
std::string expert_json(const ExpertStudy& study);

/// What `ids` are in whole characters: without the rest of one that begins
/// before them, and the beginning of one that ends behind them.
std::string whole_text(const data::Tokenizer& tokenizer,
                       std::span<const std::int32_t> ids);

}  // namespace mumoe::study
