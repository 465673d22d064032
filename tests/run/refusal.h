#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "run/command_line.h"

namespace mumoe::run {

/// What the command line of a run is refused with.
inline std::string refusal(const std::vector<std::string>& arguments) {
  try {
    read_command_line(arguments);
  } catch (const InputError& error) {
    return error.what();
  }
  return "(accepted)";
}

}  // namespace mumoe::run
