#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "study/scale/scale_result.h"
#include "study/scale/scale_study.h"

namespace mumoe::launch {

/// What is expected of cells of a study on this machine, by rates of what the
/// studies in `folders` have measured on it; none of a cell that cannot be.
/// Empty where there are no folders. Throws `InputError` for a folder without
/// measurements.
std::function<std::optional<study::Predicted>(const study::StudyCell&)>
predictions_from(const std::vector<std::string>& folders);

}  // namespace mumoe::launch
