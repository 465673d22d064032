#pragma once

#include <functional>
#include <string>

namespace mumoe::launch {

/// What `--json FILE` says of where the facts of a command go: to stdout for -,
/// without the table; else the table goes there, and they to the file that is
/// named, if one is. Throws `InputError` where that cannot be written.
void show_facts(const std::string& file,
                const std::function<std::string()>& table,
                const std::function<std::string()>& json);

}  // namespace mumoe::launch
