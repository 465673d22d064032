#pragma once

#include <memory>

#include "run/weight_file.h"

namespace mumoe::run {

/// The weights of a ViT under transformers' names (CLIPVisionModel, also inside
/// of a CLIPModel; ViTModel, ViTForImageClassification) as timm names them, its
/// query, key and value joined; what else such files hold (CLIP's text model
/// and projections, ViTModel's pooler) is left out. Any other file as it is.
std::unique_ptr<WeightFile> as_timm_vit(std::unique_ptr<WeightFile> file);

/// Whose names `as_timm_vit` found; nullptr: the file was none of these.
const char* vit_of_transformers(const WeightFile& file);

}  // namespace mumoe::run
