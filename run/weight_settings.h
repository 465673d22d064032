#pragma once

#include <map>
#include <string>

#include "run/weight_file.h"
#include "run/weight_names.h"

namespace mumoe::run {

/// Whose names and shapes they are. Throws `InputError` naming a file where
/// they are nobody's.
WeightFormat recognise(const WeightFile& file);

/// What names and shapes tell of the model: model.depth and so on, by key; all
/// of [model] that a GPT-2 needs but heads and the kind of gate. Throws
/// `InputError` naming file and tensor that is missing or has other dims.
std::map<std::string, std::string> settings_from_shapes(const WeightFile& file,
                                                        WeightFormat format);

}  // namespace mumoe::run
