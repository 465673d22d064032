#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "run/weight_file.h"

namespace mumoe::run {

/// Whether these are the weights of a ViT under timm's names.
bool holds_vit(const WeightFile& file);

/// What names and shapes tell of it, by key; all of [model] but heads and GELU.
/// What norms add follows timm: 1e-5 with a norm before the blocks, as CLIP
/// has it, else 1e-6. Throws `InputError` naming file and tensor.
std::map<std::string, std::string> vit_settings(const WeightFile& file);

/// What a config.json beside such weights tells, of transformers (vision_config
/// in a CLIPModel's) or of timm, by key: heads, GELU, what norms add. Throws
/// `InputError` naming file and key where it is another model.
std::map<std::string, std::string> read_vit_config(
    const std::filesystem::path& file);

}  // namespace mumoe::run
