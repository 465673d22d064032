#pragma once

#include <string>
#include <vector>

#include "run/options.h"

namespace mumoe::run {

/// What does not fit together in settings that a run may well have: a rank of
/// another model, a schedule of another length, a key that does nothing. A line
/// each, with the way out; `origins` tells what was given with the command.
std::vector<std::string> notes_on(const Options& options,
                                  const Origins& origins);

}  // namespace mumoe::run
