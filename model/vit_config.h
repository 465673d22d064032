#pragma once

#include "model/config.h"
#include "model/families.h"
#include "mumoe/sharding.h"

// What a ViT asks of its configuration; model/families.h says what each is for.

namespace mumoe::model {

/// Of a ViT complete but for its ranks.
void validate_vit_shape(const ModelConfig& config);
/// The same, and its ranks.
void validate_vit(const ModelConfig& config);
/// Whether `sharding` can cut it: attention by heads, and under the plan
/// `sequence` tokens by whole samples.
void validate_vit_sharding(const ModelConfig& config,
                           const Sharding& sharding,
                           std::int64_t micro_batch);
/// Its one kind of MLP, whose gate and experts see the norm that stands before
/// the block, which has none of its own; and its head, if that is a mixture.
std::vector<MlpKind> vit_mlps(const ModelConfig& config);

Workspace vit_workspace(const ModelConfig& config);

}  // namespace mumoe::model
