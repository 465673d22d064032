#pragma once

#include "model/config.h"
#include "model/families.h"
#include "mumoe/sharding.h"

// What an MLP-Mixer asks of its configuration; model/families.h says what each
// is for.

namespace mumoe::model {

/// Of a Mixer complete but for its ranks.
void validate_mixer_shape(const ModelConfig& config);
/// The same, and its ranks.
void validate_mixer(const ModelConfig& config);
/// Whether `sharding` can cut it: under the plan `sequence`, by whole samples.
void validate_mixer_sharding(const ModelConfig& config,
                             const Sharding& sharding,
                             std::int64_t micro_batch);
/// What mixes tokens and what mixes channels, in this order. Gate and experts
/// see the norm that stands before the block; it has none of its own.
std::vector<MlpKind> mixer_mlps(const ModelConfig& config);

Workspace mixer_workspace(const ModelConfig& config);

}  // namespace mumoe::model
