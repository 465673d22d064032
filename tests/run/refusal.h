#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "run/command_line.h"

namespace mumoe::run {

/// What a command line is refused with; `where`: as `read_command_line` takes
/// it for a subcommand, a run without.
template <class... Where>
std::string refusal(const std::vector<std::string>& arguments,
                    const Where&... where) {
  try {
    read_command_line(arguments, where...);
  } catch (const InputError& error) {
    return error.what();
  }
  return "(accepted)";
}

}  // namespace mumoe::run
