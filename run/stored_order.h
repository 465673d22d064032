#pragma once

#include <string>
#include <vector>

#include "run/manifest.h"

namespace mumoe::run {

/// The tensors of a checkpoint as their first pieces lie in its files: whoever
/// reads them in this order reads few blocks twice.
std::vector<std::string> stored_order(const Manifest& manifest);

}  // namespace mumoe::run
