#pragma once

#include "model/config.h"
#include "model/families.h"
#include "mumoe/sharding.h"

// What GPT-2 asks of its configuration; model/families.h says what each is for.

namespace mumoe::model {

/// Of a GPT-2 complete but for its ranks.
void validate_gpt2_shape(const ModelConfig& config);
/// The same, and its ranks.
void validate_gpt2(const ModelConfig& config);
/// Whether `sharding` can cut it.
void validate_gpt2_sharding(const ModelConfig& config,
                            const Sharding& sharding,
                            std::int64_t micro_batch);
/// Its one kind of MLP.
std::vector<MlpKind> gpt2_mlps(const ModelConfig& config);

Workspace gpt2_workspace(const ModelConfig& config);

}  // namespace mumoe::model
