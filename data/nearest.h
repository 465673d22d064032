#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// " (did you mean novels?)": that of `known` which is nearly `name`, whatever
/// the case of its letters; empty where none is.
std::string nearest_name(std::string_view name,
                         const std::vector<std::string_view>& known);

}  // namespace mumoe::data
