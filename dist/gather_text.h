#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::dist {

/// The `text` of every rank, in rank order; their lengths may differ.
/// Collective over `group`: an all-reduce of the length, an all-gather.
std::vector<std::string> gather_text(Communicator& group,
                                     std::string_view text);

}  // namespace mumoe::dist
