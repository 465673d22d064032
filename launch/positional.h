#pragma once

#include <string>
#include <vector>

namespace mumoe::launch {

/// `words` of a command line, of which one that no option stands before is the
/// value of `--name`, and may be given without it.
std::vector<std::string> with_positional(const std::vector<std::string>& words,
                                         const std::string& name);

}  // namespace mumoe::launch
