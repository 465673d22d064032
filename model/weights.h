#pragma once

#include <filesystem>

#include "dist/params/flat_buckets.h"

namespace mumoe::model {

/// Sets all weights from a checkpoint of `mumoe train`, its file
/// state.safetensors, at any layout: for a program that looks at a trained
/// model. Throws `InputError`, with nothing changed, naming the file and the
/// tensor that is missing or of another shape.
void load_weights(const std::filesystem::path& file,
                  dist::FlatBuckets& buckets);

}  // namespace mumoe::model
