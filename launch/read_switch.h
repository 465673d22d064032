#pragma once

#include <string>

#include "run/command_line.h"

namespace mumoe::launch {

/// Whether `--name` of `line` says yes; `otherwise` where it is not given.
/// Throws `InputError` for any other word than yes and no.
bool read_switch(const run::CommandLine& line,
                 const std::string& name,
                 const char* otherwise);

}  // namespace mumoe::launch
