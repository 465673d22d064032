#pragma once

#include <filesystem>

#include "dist/params/flat_buckets.h"

namespace mumoe::model {

/// Sets all weights from a file that has them whole, at any layout: that of a
/// checkpoint which one rank saved, or which `mumoe convert --consolidate`
/// made. For a program that looks at a trained model. Throws `InputError`, with
/// nothing changed, naming the file and the tensor that is missing or of
/// another shape.
void load_weights(const std::filesystem::path& file,
                  dist::FlatBuckets& buckets);

}  // namespace mumoe::model
