#pragma once

#include <string>

#include "mumoe/block.h"

namespace mumoe {

/// What a block computes, on one line of JSON: all of a config but how its
/// factors are cut and how it is computed.
std::string to_text(const BlockConfig& config);

/// The reverse. Throws `InputError` that begins with `where`.
BlockConfig block_config(const std::string& text, const std::string& where);

/// The first setting in which they compute something else, "gate = ...,
/// expected
/// ..."; empty: none. What initial values are drawn from is none.
std::string difference(const BlockConfig& found, const BlockConfig& expected);

}  // namespace mumoe
