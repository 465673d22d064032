#pragma once

#include <string>
#include <vector>

#include "run/key.h"

namespace mumoe::run {

/// All keys, in the order in which configurations are printed.
const std::vector<Key>& option_table();

/// The key called `name`, or nullptr.
const Key* find_key(const std::string& name);

/// The key whose value is the member `member` of `Options` ("model.width"), or
/// nullptr.
const Key* find_key_of_member(const std::string& member);

}  // namespace mumoe::run
